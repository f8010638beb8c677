"""A text made of sentences, with the character offsets of everything in it. Offsets count code points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Laid:
    """A text and where each of its sentences stands in it: ``text[start:end]``."""

    text: str
    spans: tuple[tuple[int, int], ...]

    def offset(self, sentence: int, words: str) -> int:
        """Return where ``words`` begin in the text; they stand exactly once in their sentence."""
        start, end = self.spans[sentence]
        offset = self.text.index(words, start, end)
        assert self.text[offset : offset + len(words)] == words
        return offset


def lay(sentences: Sequence[str], space: str) -> Laid:
    """Join ``sentences`` with ``space`` between them."""
    spans, at = [], 0
    for sentence in sentences:
        spans.append((at, at + len(sentence)))
        at += len(sentence) + len(space)
    text = space.join(sentences)
    assert all(text[a:b] == sentence for (a, b), sentence in zip(spans, sentences, strict=True))
    return Laid(text=text, spans=tuple(spans))
