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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.tasks.tokenizer import Pieces

_SPACED: Final = re.compile(r"\S+")
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


def words_of(text: str, pieces: Pieces) -> tuple[NDArray[np.int32], tuple[Word, ...]]:
    """Return each word's first piece (index, ascending, int32 ``[W]``), and the words.

    Words follow each other in the text and never overlap. White space that is none to the
    tokenizer (the separators U+001C to U+001F) can join two words; the first one stands for both.
    """
    spans = [match.span() for match in _SPACED.finditer(text)]
    opens = np.ones(len(pieces.ids), dtype=np.bool_)
    opens[1:] = pieces.words[1:] != pieces.words[:-1]
    begins = opens | _begins_unspaced(text, pieces) if _UNSPACED.search(text) else opens
    firsts = np.flatnonzero(begins)
    numbers = pieces.words[firsts].tolist()
    starts = [
        spans[number][0] if is_open else start
        for number, is_open, start in zip(
            numbers, opens[firsts].tolist(), pieces.starts[firsts].tolist(), strict=True
        )
    ]
    ends = [
        starts[index + 1] if numbers[index + 1 : index + 2] == [number] else spans[number][1]
        for index, number in enumerate(numbers)
    ]
    words = [_word(text, start, end) for start, end in zip(starts, ends, strict=True)]
    # A piece that the tokenizer made of nothing but a separator speaks for no word.
    held = [index for index, word in enumerate(words) if word.word]
    return firsts[held].astype(np.int32), tuple(words[index] for index in held)


def _word(text: str, start: int, end: int) -> Word:
    """Return a word without white space at its ends."""
    word = text[start:end]
    trimmed = word.strip()
    start += word.index(trimmed)
    return Word(word=trimmed, start=start, end=start + len(trimmed))


def _begins_unspaced(text: str, pieces: Pieces) -> NDArray[np.bool_]:
    """Return which pieces start a word because a script without spaces is on either side: ``[L]``."""
    begins = np.zeros(len(pieces.ids), dtype=np.bool_)
    covered = 0
    for index, (start, end) in enumerate(zip(pieces.starts.tolist(), pieces.ends.tolist(), strict=True)):
        if 0 < covered <= start:
            touches = _UNSPACED.match(text[start]) or _UNSPACED.match(text[start - 1])
            begins[index] = bool(touches) and not category(text[start]).startswith("M")
        covered = max(covered, end)
    return begins
