"""Tag: one label for each word, of a list of words or of a text.

Rules: the first piece of a word speaks for it, and its score is the softmax probability of
its label. Each word of a list gets one tag, always: a word of which the tokenizer leaves
nothing stands in the sequence as ``<unk>``. Nothing is ever cut off: words past
``max_tokens`` go into further windows, and a word that several windows hold speaks from the
one where it is farthest from a cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from service.errors import EmptyTextError
from service.tasks.parameters import SINGLE_SPECIALS
from service.tasks.probabilities import softmax
from service.tasks.sequences import single
from service.tasks.task import Encoded, Material, Task, Usage
from service.tasks.text import check_characters, check_ids, check_text
from service.tasks.windows import at_words, best_context
from service.tasks.words import Word, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Pieces, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TagInput:
    """Either words, split by whoever sends them, or a text; never both."""

    tokens: tuple[str, ...] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        assert (self.tokens is None) != (self.text is None), "Neither or both were given. This is a bug."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """The label of a word; ``word``, ``start`` and ``end`` (characters) for a text only."""

    tag: str
    score: float
    word: str | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TagAnswer:
    """One tag a word, in order."""

    tags: tuple[Tag, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TagLayout:
    """Where each word speaks.

    ``windows``, ``rows``: int32 ``[W]``, the sequence and the token in it. ``words``: those
    of a text, None for a list.
    """

    windows: NDArray[np.int32]
    rows: NDArray[np.int32]
    words: tuple[Word, ...] | None


def _material(item: TagInput) -> Material:
    if item.text is not None:
        check_text(item.text, "text")
        return Material(texts=(item.text,))
    assert item.tokens is not None
    if not item.tokens:
        raise EmptyTextError("`tokens` is empty; send at least one word.")
    check_characters("".join(item.tokens), "tokens")
    return Material(words=item.tokens)


def _arrange(
    item: TagInput, pieces: Many[Pieces], parameters: Parameters, tokenizer: Tokenizer
) -> Encoded[TagLayout]:
    (cut,) = pieces
    words: tuple[Word, ...] | None = None
    if item.text is not None:
        check_ids(cut.ids, "text")
        ids = cut.ids
        firsts, words = words_of(item.text, cut)
    else:
        assert item.tokens is not None
        if all(not token or token.isspace() for token in item.tokens):
            raise EmptyTextError("`tokens` holds only empty words; send at least one with a character in it.")
        ids, firsts = _one_piece_at_least(cut, len(item.tokens), tokenizer.unk_id)
    room = parameters.max_tokens - SINGLE_SPECIALS
    windows = at_words(firsts, len(ids), room=room, stride=parameters.stride)
    sequences = tuple(single(ids[start:end], tokenizer) for start, end in windows)
    chosen = best_context(windows, firsts)
    begins = np.array([start for start, _ in windows], dtype=np.int32)
    return Encoded(
        sequences=sequences,
        layout=TagLayout(windows=chosen, rows=firsts - begins[chosen] + 1, words=words),
        usage=Usage(tokens=sum(map(len, sequences)), windows=len(windows), truncated=False),
    )


def _one_piece_at_least(
    pieces: Pieces, num_words: int, unk_id: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return ids with ``<unk>`` for words without a piece, and each word's first piece."""
    words = np.arange(num_words)
    firsts = np.searchsorted(pieces.words, words, side="left")
    missing = np.searchsorted(pieces.words, words, side="right") == firsts
    if not missing.any():
        return pieces.ids, firsts.astype(np.int32)
    ids = np.insert(pieces.ids, firsts[missing], unk_id).astype(np.int32)
    shift = np.cumsum(missing) - missing
    return ids, (firsts + shift).astype(np.int32)


def _decode(
    encoded: Encoded[TagLayout], logits: Many[NDArray[np.float32]], labels: Many[str], _parameters: Parameters
) -> TagAnswer:
    layout = encoded.layout
    begins = np.cumsum([0, *map(len, logits[:-1])])
    scores = softmax(np.concatenate(logits)[begins[layout.windows] + layout.rows])
    best = scores.argmax(axis=-1)
    tags = [labels[index] for index in best.tolist()]
    tops = scores[np.arange(len(best)), best].tolist()
    if layout.words is None:
        return TagAnswer(tags=tuple(Tag(tag=tag, score=top) for tag, top in zip(tags, tops, strict=True)))
    return TagAnswer(
        tags=tuple(
            Tag(tag=tag, score=top, word=word.word, start=word.start, end=word.end)
            for tag, top, word in zip(tags, tops, layout.words, strict=True)
        )
    )


TAG: Final = Task(head="tag", material=_material, arrange=_arrange, decode=_decode, needs_places=True)
