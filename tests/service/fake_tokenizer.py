"""A tokenizer small enough to follow by hand; it passes the real one's contract tests.

A word becomes pieces of at most three characters, the first one marked, each piece with an
id of its own. Format characters (zero-width space and the like) are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unicodedata import category

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PIECE_CHARACTERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FakePieces:
    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    words: NDArray[np.int32]


class FakeTokenizer:
    bos_id, pad_id, eos_id, unk_id = 0, 1, 2, 3

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def encode(self, texts: Sequence[str]) -> list[FakePieces]:
        return [self._encode(text) for text in texts]

    def encode_ids(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        return [pieces.ids for pieces in self.encode(texts)]

    def encode_words(self, words: Sequence[str]) -> FakePieces:
        rows = [(*row[:3], index) for index, word in enumerate(words) for row in self._cut(word)]
        return _pieces(rows)

    def text_of(self, ids: NDArray[np.int32]) -> list[str]:
        names = {number: piece for piece, number in self._ids.items()}
        return [names.get(number, f"<{number}>") for number in ids.tolist()]

    def _encode(self, text: str) -> FakePieces:
        return _pieces(
            [
                (number, match.start() + start, match.start() + end, index)
                for index, match in enumerate(re.finditer(r"\S+", text))
                for number, start, end, _ in self._cut(match.group())
            ]
        )

    def _cut(self, word: str) -> list[tuple[int, int, int, int]]:
        kept = [place for place, character in enumerate(word) if category(character) not in {"Cf", "Zs"}]
        rows = []
        for begin in range(0, len(kept), _PIECE_CHARACTERS):
            places = kept[begin : begin + _PIECE_CHARACTERS]
            piece = ("▁" if begin == 0 else "") + "".join(word[place] for place in places)
            number = self._ids.setdefault(piece, 10 + len(self._ids))
            rows.append((number, places[0], places[-1] + 1, 0))
        return rows


def _pieces(rows: list[tuple[int, int, int, int]]) -> FakePieces:
    table = np.array(rows, dtype=np.int32).reshape(-1, 4)
    ids, starts, ends, words = (np.ascontiguousarray(column) for column in table.T)
    return FakePieces(ids=ids, starts=starts, ends=ends, words=words)
