"""What the coordinator keeps of its workers: who is lost, who came back, what they add up to."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.driver import messages
from loadtest.driver.errors import UsageError
from loadtest.driver.outcome import Fate
from loadtest.driver.progress import progress_from
from loadtest.driver.roster import SILENCE_S, Roster

COUNTS: dict[str, Any] = {"num_sent": 5, "num_done": 4, "num_failed": 1, "lateness_p99_us": 900}


class Said:
    """A message as Locust hands it on."""

    def __init__(self, kind: str, client: str, **data: Any) -> None:
        self.type, self.node_id, self.data = kind, client, {"run": 1, **data}


def hear(roster: Roster, kind: str, client: str, now: float = 0.0, **data: Any) -> Any:
    return roster.hear(Said(kind, client, **data), now)  # type: ignore[arg-type]  # a fake of Locust's message


@pytest.fixture
def roster() -> Roster:
    return Roster(["a", "b"], now=0.0)


def test_shards_follow_the_order_of_the_clients(roster: Roster) -> None:
    assert [(one.shard, one.client) for one in roster] == [(0, "a"), (1, "b")]
    assert len({one.spool for one in roster}) == 2


def test_all_must_be_ready(roster: Roster) -> None:
    hear(roster, messages.READY, "a", boot_id="x")
    ready = [roster.ready]
    hear(roster, messages.READY, "b", boot_id="y")
    assert [*ready, roster.ready] == [False, True]
    assert [one.identity for one in roster] == [{"boot_id": "x"}, {"boot_id": "y"}]


def test_a_refusal_carries_its_reason(roster: Roster) -> None:
    with pytest.raises(UsageError, match="another trace"):
        hear(roster, messages.REFUSED, "b", reason="another trace")


def test_a_stranger_is_nobody(roster: Roster) -> None:
    assert hear(roster, messages.PROGRESS, "c", **COUNTS) is None
    assert roster.total("num_sent") == 0


def test_reports_add_up_and_the_worst_lateness_counts(roster: Roster) -> None:
    hear(roster, messages.PROGRESS, "a", **COUNTS)
    hear(roster, messages.PROGRESS, "b", **{**COUNTS, "lateness_p99_us": None})
    assert (roster.total("num_sent"), roster.total("num_failed")) == (10, 2)
    reading = roster.progress([0, 1_000_000, 2_000_000, 3_000_000], 1_500_000, is_open=True)
    assert (reading.elapsed_s, reading.duration_s, reading.lateness_p99_s) == (1.5, 3.0, 0.0009)
    assert (reading.num_scheduled, reading.num_due, reading.num_sent, reading.num_inflight) == (4, 2, 10, 2)
    assert reading.remaining_s == 1.5
    assert progress_from(reading.to_line()) == reading


def test_a_loop_without_instants_is_due_as_it_is_sent(roster: Roster) -> None:
    hear(roster, messages.PROGRESS, "a", **COUNTS)
    reading = roster.progress([0] * 12, 2_000_000, is_open=False)
    assert (reading.duration_s, reading.num_due) == (None, 5)
    assert reading.remaining_s == (12 - 4) * 2.0 / 4
    assert Roster((), 0.0).progress([0], 0, is_open=False).remaining_s is None


def test_a_worker_is_lost_only_when_it_is_absent_and_silent(roster: Roster) -> None:
    hear(roster, messages.PROGRESS, "a", now=10.0, **COUNTS)
    hear(roster, messages.PROGRESS, "b", now=10.0, **COUNTS)
    roster.note_losses({"a"}, 10.0 + SILENCE_S)
    assert roster.count(Fate.LOST) == 0, "it spoke just now"
    roster.note_losses({"a", "b"}, 99.0)
    assert roster.count(Fate.LOST) == 0, "its heart beats"
    assert [one.client for one in roster.absent({"a"})] == ["b"]
    roster.note_losses({"a"}, 99.0)
    assert [one.fate for one in roster] == [None, Fate.LOST]
    assert not roster.ended


def test_a_worker_that_speaks_again_was_not_lost(roster: Roster) -> None:
    roster.note_losses(set(), 99.0)
    assert roster.ended
    hear(roster, messages.PROGRESS, "b", now=100.0, **COUNTS)
    assert [one.fate for one in roster] == [Fate.LOST, None]


def test_the_end_is_done_or_cut_short(roster: Roster) -> None:
    hear(roster, messages.DONE, "a", problem="", **COUNTS)
    hear(roster, messages.DONE, "b", problem="interrupted", **COUNTS)
    assert roster.ended
    assert [one.outcome().fate for one in roster] == [Fate.DONE, Fate.INTERRUPTED]


def test_a_worker_that_never_ended_was_interrupted(roster: Roster) -> None:
    assert {one.outcome().fate for one in roster} == {Fate.INTERRUPTED}
