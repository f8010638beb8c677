"""Sub-words with their places in a text, and the words that they belong to.

Rules: places are code points of the text as it was given, before any normalisation; words are what
stands between white space in it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tokenizers
    from numpy.typing import NDArray

_WORD = re.compile(r"\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The sub-words of one text, or of one list of words.

    ``ids``: int32 ``[L]``. ``starts``, ``ends``: int32 ``[L]``, code points, end exclusive.
    ``words``: int32 ``[L]``, the index of the word that a piece belongs to.
    """

    ids: NDArray[np.int32]
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    words: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ids)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return start and end (code points) of each whitespace-separated word of a text."""
    return [match.span() for match in _WORD.finditer(text)]


def pieces_of(encoding: tokenizers.Encoding, text: str) -> Pieces:
    """Return what the library found in a text, with places and words as they are meant here."""
    offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
    starts, ends = np.ascontiguousarray(offsets[:, 0]), np.ascontiguousarray(offsets[:, 1])
    _cover_composed(ends, starts, text)
    # The library counts its own pre-tokens, and normalisation can split one word into several
    # of them or join two; places in the given text do not have that trouble.
    word_ends = np.array([end for _, end in word_spans(text)], dtype=np.int32)
    # A piece may start at a separator after the last word: normalisation makes a space of the
    # acute accent in "\u00b4\x1f", and the library places what is left of it behind the space.
    words = np.searchsorted(word_ends, starts, side="right").clip(max=max(len(word_ends) - 1, 0))
    return Pieces(
        ids=np.array(encoding.ids, dtype=np.int32),
        starts=starts,
        ends=ends,
        words=words.astype(np.int32),
    )


def _cover_composed(ends: NDArray[np.int32], starts: NDArray[np.int32], text: str) -> None:
    """Lengthen ``ends`` over the code points that normalisation drew into the one before them.

    Where the normaliser composes a letter and its combining marks, the library places the
    result on the letter alone, and a span that ends there would lose the marks.
    """
    if unicodedata.is_normalized("NFKC", text):
        return  # nothing was composed
    covered = np.maximum.accumulate(ends)
    following = np.append(starts[1:], len(text))
    for piece in np.flatnonzero((ends == covered) & (ends < following)):
        end = int(ends[piece])
        while end < following[piece] and not unicodedata.category(text[end]).startswith(("Z", "C")):
            end += 1
        ends[piece] = end
