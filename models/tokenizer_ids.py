"""Ids of a text without their places, several times faster, for the tokenizer files where that is proven.

Rules: ids are those of the reference, Hugging Face's ``tokenizers``, or nobody's. A file is taken only
if all of it that decides about ids has the form that was compared (XLM-R's: a ``Unigram`` model behind a
compiled character map), and if it gives the reference's ids for awkward strings and for its own pieces,
each time it is read. Of a file that is taken, texts in which the two are known to differ go to the
reference: those with ``<``, which may spell a special token, and those of which nothing but a space is
left. What was compared, and how often: docs/adr/0020-ids-by-a-second-library.md.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from tokenizers.models import Unigram

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tokenizers
    import tokie
    from numpy.typing import NDArray

_SPACE = "▁"
_PRE_TOKENIZER = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "WhitespaceSplit"},
        {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": True},
    ],
}
# Longer ones were compared less, and are cut in threads anyway; 8,000 characters are at most 32 kB.
_MAX_CHARACTERS = 8_000
_CANARIES = (
    "Hello world!",
    "  two  spaces, a\ttab\nand\r\nlines \u00a0 ",
    "नमस्ते दुनिया",
    "你好\uff0c世界。我们去图书馆",
    "مرحبا بالعالم، السَّلامُ عليكم",
    "สวัสดีครับ น้ำเย็น",
    "မြန်မာဘာသာ ភាសាខ្មែរ ລາວ",
    "ქართული ខ្ញុំ தமிழ் ગુજરાતી ਪੰਜਾਬੀ",
    "한국어 각 가 \u1100\u1161\u11a8",
    "ẹ́kọ́ Đường cafe\u0301 e\u0323\u0301n naïve n\u0303",
    "\uff21\uff22\uff11 \uff76\uff9e ｽﾅｯﾌﾟ ﬁne ﷺ ㌔ ½ ² ™ … \u00b4 ¨",
    "ok 👩\u200d👩\u200d👧\u200d👦 👍🏽 🇩🇪 ❤\ufe0f end 🦄🦄🦄",
    "a\u200bb\u200dc\ufeffd\u00ade \u2028 \u0085 \u3000x",
    "a\x07b\x00c\x7f \ufffd \ue000 \U000e0001 \U0010ffff \u0378",
    "▁a ▁ ▁▁b a▁",
    "\u0301\u0301 x\u0338 \u094d",
    "THE TEACHING!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
    "\uff1cs\uff1e \uff1c/s> a > b",
    "x" * 700,
    "字" * 300,
    "1234567890 " * 60,
    "https://example.org/a-b_c?d=e&f=%20 <none@example.org>",
)
# Every so many-th piece of the vocabulary is cut by both too; a hundred make one text.
_PIECE_STEP = 50
_PIECES_A_TEXT = 100


class FastIds:
    """A vocabulary whose ids a second library gives; thread-safe, lets go of the interpreter lock."""

    def __init__(self, library: tokie.Tokenizer, *, space_id: int) -> None:
        library.no_truncation()
        library.no_padding()
        self._library = library
        self._space_id = space_id

    @classmethod
    def of(cls, content: bytes, reference: tokenizers.Tokenizer) -> Self:
        """Read a ``tokenizer.json`` that the reference has read, and hold it against the reference.

        Raises:
            NotProvenError: it has another form, or any id differs; ``str(error)`` says which.
        """
        _check_form(reference)
        space_id = reference.token_to_id(_SPACE)
        if space_id is None:
            raise OtherFormError(f"it has no piece {_SPACE}")
        fast = cls(_read(content), space_id=space_id)
        fast._check_ids(reference)
        return fast

    def __call__(self, text: str) -> NDArray[np.int32] | None:
        """Return a text's ids, int32 ``[L]``; None where only the reference knows them.

        Raises:
            UnicodeError: the text holds a lone surrogate.
        """
        if "<" in text or len(text) > _MAX_CHARACTERS:
            return None
        # One text a call: the library may share several between threads of its own.
        encode = self._library.encode_batch_flat  # type: ignore[attr-defined]  # missing in the library's stub
        ids: NDArray[np.int32] = encode([text], add_special_tokens=False)[0].view(np.int32)
        if len(ids) <= 1 and (not len(ids) or ids[0] == self._space_id):
            return None  # the reference leaves nothing of a text that is white space once normalised
        return ids

    def _check_ids(self, reference: tokenizers.Tokenizer) -> None:
        texts = [*_CANARIES, *_vocabulary_in_texts(reference)]
        wanted = reference.encode_batch_fast(texts, add_special_tokens=False)
        for text, encoding in zip(texts, wanted, strict=True):
            found = self(text)
            if found is not None and found.tolist() != encoding.ids:
                raise NotProvenError(f"ids of {text[:40]!a} differ")


class NotProvenError(Exception):
    """The second library is not used for a file; ``str(error)`` is the reason, for the log."""


class OtherFormError(NotProvenError):
    """The file has another form than the one that was compared, or there is no second library here."""


def _read(content: bytes) -> tokie.Tokenizer:
    try:
        import tokie  # noqa: PLC0415 - there are no wheels of it for every machine
    except ImportError as error:
        raise OtherFormError(f"the second library is not there: {error}") from error
    try:
        with _as_file(content) as path:
            return tokie.Tokenizer.from_json(path)
    except (tokie.TokieError, OSError) as error:
        raise NotProvenError(f"it cannot be read: {error}") from error


def _check_form(reference: tokenizers.Tokenizer) -> None:
    normalizer, pre_tokenizer, model = reference.normalizer, reference.pre_tokenizer, reference.model
    if not isinstance(model, Unigram):
        raise OtherFormError("its model is not Unigram")
    if normalizer is None or json.loads(normalizer.__getstate__()).get("type") != "Precompiled":
        raise OtherFormError("its normalizer is not one compiled character map")
    if pre_tokenizer is None or json.loads(pre_tokenizer.__getstate__()) != _PRE_TOKENIZER:
        raise OtherFormError("its pre-tokenizer is not white space and a mark at each word's start")
    for added in reference.get_added_tokens_decoder().values():
        if added.normalized or added.single_word or not added.content.startswith("<"):
            raise OtherFormError(f"its added token {added.content!r} is not searched for as XLM-R's are")
    if not model.__getstate__().endswith(b'"byte_fallback":false}'):
        raise OtherFormError("its unknown characters become bytes")


def _vocabulary_in_texts(reference: tokenizers.Tokenizer) -> list[str]:
    num_pieces = reference.get_vocab_size(with_added_tokens=False)
    pieces = [reference.id_to_token(identity) or "" for identity in range(0, num_pieces, _PIECE_STEP)]
    return [
        "".join(pieces[first : first + _PIECES_A_TEXT]).replace(_SPACE, " ").replace("<", "")
        for first in range(0, len(pieces), _PIECES_A_TEXT)
    ]


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give content a path, which is all that the second library reads; in memory where that can be."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("tokenizer.json")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            path.write_bytes(content)
            yield str(path)
