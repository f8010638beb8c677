"""The five head kinds by name."""

from __future__ import annotations

import pytest

from models.variant import HeadKind
from service.tasks.kinds import TASKS


def test_every_head_kind_has_a_task_of_its_own_name() -> None:
    assert list(TASKS) == [kind.value for kind in HeadKind]
    assert all(task.head == head for head, task in TASKS.items())


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TASKS["generate"] = TASKS["classify"]  # type: ignore[index]  # that it refuses is the point
