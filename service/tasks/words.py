"""Which words a raw text has, for tags.

Rules: a word is what stands between white space. Scripts that are written without spaces
(Thai, Lao, Khmer, Burmese, Tibetan, Chinese characters, kana) have no such words; there each
piece of the tokenizer is a word of its own, since the sub-words are the only segmentation
at hand. A piece that starts with a combining mark stays with the piece before it, and so do
pieces that normalisation made of the same characters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from unicodedata import category

import numpy as np

from service.tasks.text import whole_characters

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.tasks.tokenizer import Pieces

# Unicode blocks: Thai and Lao, Tibetan, Burmese, Khmer, kana (with extensions and halfwidth
# forms), CJK ideographs (unified, extensions, compatibility).
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"
    "\uff66-\uff9d\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a text: ``text[start:end]`` is ``word``."""

    word: str
    start: int
    end: int


def first_pieces(text: str, pieces: Pieces) -> NDArray[np.int32]:
    """Return the index of each word's first piece, ascending: int32 ``[W]``."""
    begins = np.ones(len(pieces.ids), dtype=np.bool_)
    begins[1:] = pieces.words[1:] != pieces.words[:-1]
    if _UNSPACED.search(text):
        begins |= _begins_unspaced(text, pieces)
    return np.flatnonzero(begins).astype(np.int32)


def words_of(text: str, pieces: Pieces, firsts: NDArray[np.int32]) -> tuple[Word, ...]:
    """Return the words whose first pieces are given, with their characters."""
    starts = np.minimum.reduceat(pieces.starts, firsts).tolist()
    ends = np.maximum.reduceat(pieces.ends, firsts).tolist()
    spans = (whole_characters(text, start, end) for start, end in zip(starts, ends, strict=True))
    return tuple(Word(word=text[start:end], start=start, end=end) for start, end in spans)


def _begins_unspaced(text: str, pieces: Pieces) -> NDArray[np.bool_]:
    begins = np.zeros(len(pieces.ids), dtype=np.bool_)
    covered = 0
    for index, (start, end) in enumerate(zip(pieces.starts.tolist(), pieces.ends.tolist(), strict=True)):
        if 0 < covered <= start < end:
            touches = _UNSPACED.match(text[start]) or _UNSPACED.match(text[start - 1])
            begins[index] = bool(touches) and not category(text[start]).startswith("M")
        covered = max(covered, end)
    return begins
