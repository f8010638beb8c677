"""A small ``tokenizer.json`` of XLM-R's form: the bundled pieces behind a compiled character map.

Rules: the map is made here from Unicode's NFKC, for a few hundred characters and letters with marks, in the
form that SentencePiece stores: a double array of 32-bit units, then what each key becomes.
Source: github.com/s-yata/darts-clone for the units; sentencepiece's src/normalizer.cc for the whole.
"""

from __future__ import annotations

import base64
import json
import struct
import unicodedata
from typing import Any

from models.tokenizer import bundled_file

_BLOCK = 256
_LEAF = 1 << 31


def xlmr_like(**changes: Any) -> bytes:
    """Return the file's content; ``changes`` replace its parts at the top."""
    document = json.loads(bundled_file().read_bytes())
    model = document["model"]
    # Without its bytes, so that characters can be unknown, as they can to XLM-R.
    model["vocab"] = [
        [f"\u0530{index}" if piece.startswith("<0x") else piece, score]
        for index, (piece, score) in enumerate(model["vocab"])
    ]
    model["byte_fallback"] = False
    document["normalizer"] = {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(compiled(_changed())).decode(),
    }
    return json.dumps(document | changes).encode()


def compiled(becomes: dict[str, str]) -> bytes:
    """Return the compiled form of a map from strings to strings."""
    texts = bytearray()
    tree: dict[int, Any] = {}
    for key, text in becomes.items():
        node = tree
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[-1] = len(texts)
        texts += text.encode() + b"\0"
    units: dict[int, int] = {}
    _place(tree, 0, 0, units, [0])
    array = [units.get(place, 0) for place in range(_BLOCK * (1 + max(units) // _BLOCK))]
    return struct.pack(f"<{len(array) + 1}I", 4 * len(array), *array) + bytes(texts)


def _place(node: dict[int, Any], place: int, label: int, units: dict[int, int], last: list[int]) -> None:
    """Give a node a block of its own, which wastes room and needs no search for free places."""
    last[0] += _BLOCK
    base = last[0]
    units[place] = label | ((-1 in node) << 8) | ((place ^ base) << 10)
    for byte, child in node.items():
        if byte == -1:
            units[base] = child | _LEAF
        else:
            _place(child, base ^ byte, byte, units, last)


def _changed() -> dict[str, str]:
    blocks = [
        *range(0x80, 0x250),
        *range(0x2000, 0x2080),
        *range(0xFB00, 0xFB07),
        *range(0xFF01, 0xFF5F),
        *range(0xFF65, 0xFFA0),
    ]
    composed = [letter + mark for letter in "aeinouAEINOU" for mark in "\u0300\u0301\u0303\u0308\u0323"]
    keys = [*map(chr, blocks), *composed, "\u3000", "\ufdfa", "\uff76\uff9e"]
    becomes = {key: unicodedata.normalize("NFKC", key) for key in keys}
    dropped = "\x01\x07\x1b\x7f\x85\u200b\u200d\ufeff\u00ad"
    spaces = dict.fromkeys(("\t", "\n", "\r", "\u2028", "\u2029", "▁"), " ")
    changed = {key: text for key, text in becomes.items() if key != text}
    return changed | spaces | dict.fromkeys(dropped, "")
