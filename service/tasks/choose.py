"""Choose: the best of several choices for a context.

Rules: a choice is one sequence, a pair whose first text is the context, or the context, a
space and the question, and whose second is the choice. Scores are the softmax over the
choices. A context that is cut is cut for each choice alone, as ``longest_first`` has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from service.errors import EmptyTextError
from service.tasks.probabilities import softmax_of_few
from service.tasks.sequences import fitted
from service.tasks.task import Encoded, Material, Task, Usage
from service.tasks.text import check_ids, check_text

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseInput:
    """A context, what is asked of it, and what may be chosen."""

    context: str
    question: str | None = None
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseAnswer:
    """The index of the best choice, and the probability of each in the order given."""

    choice: int
    scores: tuple[float, ...]


def _material(item: ChooseInput) -> Material:
    if not item.choices:
        raise EmptyTextError("`choices` is empty; send at least one choice.")
    check_text(item.context, "context")
    if item.question is not None:
        check_text(item.question, "question")
    for index, choice in enumerate(item.choices):
        check_text(choice, f"choices[{index}]")
    context = item.context if item.question is None else f"{item.context} {item.question}"
    return Material(texts=(context, *item.choices))


def _arrange(
    _item: ChooseInput, cut: Many[NDArray[np.int32]], parameters: Parameters, tokenizer: Tokenizer
) -> Encoded[None]:
    context, *choices = cut
    check_ids(context, "context")
    for index, choice in enumerate(choices):
        check_ids(choice, f"choices[{index}]")
    fits = [fitted(context, choice, parameters, tokenizer) for choice in choices]
    sequences = tuple(sequence for sequence, _ in fits)
    usage = Usage(tokens=sum(map(len, sequences)), windows=1, truncated=any(cut for _, cut in fits))
    return Encoded(sequences=sequences, layout=None, usage=usage)


def _decode(
    _encoded: Encoded[None],
    logits: Many[NDArray[np.float32]],
    _labels: Many[str],
    _parameters: Parameters,
) -> ChooseAnswer:
    scores = softmax_of_few(np.concatenate(logits))
    return ChooseAnswer(choice=scores.index(max(scores)), scores=tuple(scores))


CHOOSE: Final = Task(head="choose", material=_material, arrange=_arrange, decode=_decode)
