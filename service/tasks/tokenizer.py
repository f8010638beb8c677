"""What tasks ask of a tokenizer; the real one is ``models.tokenizer.Tokenizer``.

Rules: no special tokens, no truncation, no padding; places are code points of the text as
it was given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray


class Pieces(Protocol):
    """The sub-words of one text, or of one list of words; int32 ``[L]`` each."""

    @property
    def ids(self) -> NDArray[np.int32]:
        """Ids in the vocabulary."""
        ...

    @property
    def starts(self) -> NDArray[np.int32]:
        """First character of each piece: in the text, or in its word of a list."""
        ...

    @property
    def ends(self) -> NDArray[np.int32]:
        """Character after the last of each piece."""
        ...

    @property
    def words(self) -> NDArray[np.int32]:
        """Index of each piece's word: the whitespace word of a text, or the word of a list."""
        ...


class Tokenizer(Protocol):
    """Cuts text into pieces; safe to share between threads."""

    @property
    def bos_id(self) -> int:
        """Id of ``<s>``."""
        ...

    @property
    def eos_id(self) -> int:
        """Id of ``</s>``."""
        ...

    @property
    def unk_id(self) -> int:
        """Id of ``<unk>``."""
        ...

    def encode(self, texts: Many[str]) -> Many[Pieces]:
        """Cut each text."""
        ...

    def encode_ids(self, texts: Many[str]) -> Many[NDArray[np.int32]]:
        """Cut each text where only the ids are wanted: int32 ``[L]`` each."""
        ...

    def encode_words(self, words: Many[str]) -> Pieces:
        """Cut each word as if it stood after a space; a word may yield no piece."""
        ...
