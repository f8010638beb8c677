"""The rate that loads are shares of, where open schedules ask otherwise than each item once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.study.start_rate import mixed_rate
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from loadtest.report.records import Group, Summary


def unloaded(mean_s: float, cells: dict[str, dict[str, Group]], tasks: dict[str, Group]) -> Summary:
    found = summary(group(service_s=mean_s), by_task=tasks)
    return found.model_copy(update={"by_task_language": cells})


CHEAP, DEAR = group(service_s=0.01), group(service_s=0.03)
# Three cheap items to one dear: 15 ms on average.
SEEN = unloaded(0.015, {"xnli": {"en": CHEAP}, "xquad": {"en": DEAR}}, {"xnli": CHEAP, "xquad": DEAR})


def test_asking_for_dear_requests_more_often_lowers_the_rate() -> None:
    same = {("xnli", "en"): 0.75, ("xquad", "en"): 0.25}
    assert mixed_rate(60.0, SEEN, same) == pytest.approx(60.0)
    alike = {("xnli", "en"): 0.5, ("xquad", "en"): 0.5}
    assert mixed_rate(60.0, SEEN, alike) == pytest.approx(60.0 * 15 / 20)
    assert mixed_rate(60.0, SEEN, {("xnli", "en"): 1.0, ("xquad", "en"): 0.0}) == pytest.approx(90.0)


def test_a_cell_that_was_not_seen_counts_as_its_task_and_a_task_as_everything() -> None:
    assert mixed_rate(60.0, SEEN, {("xquad", "el"): 1.0}) == pytest.approx(30.0)
    assert mixed_rate(60.0, SEEN, {("panx", "el"): 1.0}) == pytest.approx(60.0)


def test_nothing_timed_leaves_the_rate_as_it_is() -> None:
    assert mixed_rate(60.0, summary(group()), {("xnli", "en"): 1.0}) == 60.0
