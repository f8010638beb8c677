"""Which label of a served head stands for which label of a task.

Rules: a given mapping goes first, then the same name, then the same name in another case; nothing is guessed
from positions, because published checkpoints order their labels differently. The result is a value: what
could not be matched is named, and the caller refuses the run with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMatch:
    """Served label -> task label, and what is left over on either side.

    ``unmatched``: served labels that stand for nothing in the task (an answer with one is wrong).
    ``unreachable``: task labels that no served label stands for (gold with one can never be right).
    """

    labels: Mapping[str, str]
    unmatched: tuple[str, ...]
    unreachable: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every served label means something and every task label can be answered."""
        return not self.unmatched and not self.unreachable


def match_labels(
    task: Task | str, served: Sequence[str], given: Mapping[str, str] | None = None
) -> LabelMatch:
    """Match the ``served`` labels of a head to those of ``task``; a task without labels matches trivially.

    ``given`` is served label -> task label, as an arm file states it.
    """
    own = {label: label for label in TASKS[Task(task)].labels}
    if not own:
        return LabelMatch(labels={}, unmatched=(), unreachable=())
    folded = {label.casefold(): label for label in own}
    labels: dict[str, str] = {}
    for label in served:
        wanted = (given or {}).get(label, label)
        found = own.get(wanted) or folded.get(wanted.casefold())
        if found is not None:
            labels[label] = found
    reached = set(labels.values())
    return LabelMatch(
        labels=labels,
        unmatched=tuple(label for label in served if label not in labels),
        unreachable=tuple(label for label in own if label not in reached),
    )
