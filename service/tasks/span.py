"""Span: the passages of a context that answer a question, best first.

Rules: a sequence is the question, cut to 64 tokens at most, and a window of the context;
the context is never cut, and no answer reaches into the question. Windows share ``stride``
tokens. There is always an answer: a head trained to abstain (SQuAD 2) is read for its best
passage, not for its doubt. Answers that are the same characters are one, with the score of the likeliest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.errors import TooLongError
from service.tasks.parameters import PAIR_SPECIALS, max_question_tokens
from service.tasks.probabilities import check_finite
from service.tasks.sequences import pair
from service.tasks.spans import PieceSpan, likeliest
from service.tasks.task import Encoded, Material, Task, Usage
from service.tasks.text import check_ids, check_text, whole_characters
from service.tasks.windows import Window, sliding

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Pieces, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanInput:
    """A question, and the context that holds its answer."""

    question: str
    context: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A passage: ``text`` is ``context[start:end]``, in characters; ``score`` a probability."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanAnswer:
    """Passages, best first; at least one."""

    answers: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpanLayout:
    """The context, its pieces' characters (int32 ``[N]``), and the pieces of each window.

    ``context_row``: where the context starts in every sequence.
    """

    context: str
    starts: NDArray[np.int32]
    ends: NDArray[np.int32]
    windows: tuple[Window, ...]
    context_row: int


def _material(item: SpanInput) -> Material:
    check_text(item.question, "question")
    check_text(item.context, "context")
    return Material(texts=(item.question, item.context))


def _arrange(
    item: SpanInput, pieces: Many[Pieces], parameters: Parameters, tokenizer: Tokenizer
) -> Encoded[SpanLayout]:
    question, context = pieces
    check_ids(question.ids, "question")
    check_ids(context.ids, "context")
    cap = max_question_tokens(parameters.max_tokens)
    asked = question.ids[:cap]
    if len(asked) < len(question.ids) and not parameters.truncate:
        raise TooLongError(
            f"The question takes {len(question.ids)} tokens and may take {cap}; shorten it, or set "
            "`truncate` to true."
        )
    room = parameters.max_tokens - PAIR_SPECIALS - len(asked)
    windows = sliding(len(context.ids), room=room, stride=parameters.stride)
    sequences = tuple(pair(asked, context.ids[start:end], tokenizer) for start, end in windows)
    return Encoded(
        sequences=sequences,
        layout=SpanLayout(
            context=item.context,
            starts=context.starts,
            ends=context.ends,
            windows=windows,
            context_row=len(asked) + PAIR_SPECIALS - 1,
        ),
        usage=Usage(
            tokens=sum(map(len, sequences)),
            windows=len(windows),
            truncated=len(asked) < len(question.ids),
        ),
    )


def _decode(
    encoded: Encoded[SpanLayout],
    logits: Many[NDArray[np.float32]],
    _labels: Many[str],
    parameters: Parameters,
) -> SpanAnswer:
    layout = encoded.layout
    rows = [window[layout.context_row : -1] for window in logits]
    for window in rows:
        check_finite(window)
    wanted = count = parameters.top_k or 1
    while True:
        spans = likeliest(layout.windows, rows, max_answer_tokens=parameters.max_answer_tokens, count=count)
        answers = _distinct(layout, spans)
        if len(answers) >= wanted or len(spans) < count:
            break
        count *= 4
    assert answers, "No piece of a context covers a character. This is a bug."
    return SpanAnswer(answers=tuple(answers[:wanted]))


def _distinct(layout: SpanLayout, spans: Many[PieceSpan]) -> list[Span]:
    """Return the passages of spans, best first, each once, those without a character left out."""
    seen: dict[tuple[int, int], Span] = {}
    for span in spans:
        start, end = whole_characters(
            layout.context, int(layout.starts[span.first]), int(layout.ends[span.last])
        )
        if start < end and (start, end) not in seen:
            seen[start, end] = Span(text=layout.context[start:end], start=start, end=end, score=span.score)
    return list(seen.values())


SPAN: Final = Task(head="span", material=_material, arrange=_arrange, decode=_decode, needs_places=True)
