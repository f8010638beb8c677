"""Classify: one label of several for a text or a pair of texts.

Rules: the score of a label is its softmax probability; a head with a single label gives the
logistic of its logit instead, as transformers' pipeline does. ``top_k`` keeps the best
labels, best first; without it all are given in the order of the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from service.tasks.probabilities import logistic, softmax_of_few
from service.tasks.task import Encoded, Task
from service.tasks.text_input import arrange_texts, text_material

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyAnswer:
    """The likeliest label, and the probability of each."""

    label: str
    scores: Mapping[str, float]


def _decode(
    _encoded: Encoded[None], logits: Many[NDArray[np.float32]], labels: Many[str], parameters: Parameters
) -> ClassifyAnswer:
    (row,) = logits
    assert len(row) == len(labels), f"{len(row)} logits for {len(labels)} labels. This is a bug."
    if len(row) == 1:
        return ClassifyAnswer(label=labels[0], scores={labels[0]: logistic(row[0])})
    scores = softmax_of_few(row)
    order = sorted(range(len(row)), key=scores.__getitem__, reverse=True)
    kept = range(len(row)) if parameters.top_k is None else order[: parameters.top_k]
    return ClassifyAnswer(label=labels[order[0]], scores={labels[index]: scores[index] for index in kept})


CLASSIFY: Final = Task(head="classify", material=text_material, arrange=arrange_texts, decode=_decode)
