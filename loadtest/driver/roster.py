"""The workers of one run, as far as the coordinator has heard them. No clock, no messages sent."""

from __future__ import annotations

import bisect
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.driver import messages
from loadtest.driver.clocks import SHARED, Offset
from loadtest.driver.errors import UsageError
from loadtest.driver.outcome import Fate, WorkerOutcome
from loadtest.driver.progress import Progress
from loadtest.driver.tally import Distribution, merged

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from locust.rpc.protocol import Message

_US_PER_S = 1_000_000
SILENCE_S = 5.0  # a worker without heartbeat that said nothing for this long is lost


@dataclass(slots=True, kw_only=True)
class Participant:
    """One worker. ``report``: its last PROGRESS or DONE. ``fate`` is None while it works."""

    shard: int
    client: str
    spool: str
    heard_at: float
    ready: bool = False
    identity: dict[str, Any] = field(default_factory=dict)
    clock: Offset = SHARED
    report: dict[str, Any] = field(default_factory=dict)
    fate: Fate | None = None

    def outcome(self) -> WorkerOutcome:
        """Return what the record keeps; a worker that never ended was interrupted."""
        return WorkerOutcome(
            shard=self.shard,
            client=self.client,
            fate=self.fate or Fate.INTERRUPTED,
            spool=self.spool,
            clock=asdict(self.clock),
            identity=self.identity,
            report=self.report,
        )


class Roster:
    """The participants of one run, in the order of their shards."""

    def __init__(self, clients: Sequence[str], now: float) -> None:
        self._by_client = {
            client: Participant(
                shard=shard, client=client, spool=f"parts/{shard:03d}-{client}.spool", heard_at=now
            )
            for shard, client in enumerate(clients)
        }

    def __iter__(self) -> Iterator[Participant]:
        return iter(self._by_client.values())

    def __len__(self) -> int:
        return len(self._by_client)

    @property
    def ready(self) -> bool:
        """Whether every worker has prepared its shard."""
        return all(one.ready for one in self)

    @property
    def ended(self) -> bool:
        """Whether every worker is done, interrupted or lost."""
        return all(one.fate is not None for one in self)

    def hear(self, msg: Message, now: float) -> Participant | None:
        """Take in a message, and return who sent it; None if it was nobody of this run.

        Raises:
            UsageError: the worker refuses, with its reason.
        """
        one = self._by_client.get(msg.node_id)
        if one is None:
            return None
        one.heard_at = now
        data = {key: value for key, value in msg.data.items() if key != "run"}
        match msg.type:
            case messages.READY:
                one.ready, one.identity = True, data
            case messages.REFUSED:
                raise UsageError(data["reason"])
            case messages.PROGRESS:
                one.report = data
                one.fate = None  # a worker that speaks again was not lost
            case messages.DONE:
                one.report = data
                one.fate = Fate.INTERRUPTED if data["problem"] else Fate.DONE
            case _:
                pass
        return one

    def note_losses(self, present: Collection[str], now: float) -> None:
        """Mark as lost who has no heartbeat and has said nothing for a while."""
        for one in self:
            if one.fate is None and one.client not in present and now - one.heard_at > SILENCE_S:
                one.fate = Fate.LOST

    def absent(self, present: Collection[str]) -> list[Participant]:
        """Return who has no heartbeat and has not ended."""
        return [one for one in self if one.fate is None and one.client not in present]

    def count(self, fate: Fate) -> int:
        """Return how many workers met this fate."""
        return sum(one.fate is fate for one in self)

    def total(self, key: str) -> int:
        """Return the sum of a counter over the workers' reports."""
        return sum(int(one.report.get(key, 0)) for one in self)

    def progress(self, times_us: Sequence[int], elapsed_us: int, *, is_open: bool) -> Progress:
        """Return a reading ``elapsed_us`` after the start of a schedule with these instants."""
        num_sent, late_us = self.total("num_sent"), self._worst_lateness_us()
        return Progress(
            elapsed_s=elapsed_us / _US_PER_S,
            duration_s=times_us[-1] / _US_PER_S if is_open else None,
            num_scheduled=len(times_us),
            num_due=bisect.bisect_right(times_us, elapsed_us) if is_open else num_sent,
            num_sent=num_sent,
            num_done=self.total("num_done"),
            num_failed=self.total("num_failed"),
            lateness_p99_s=None if late_us is None else late_us / _US_PER_S,
            num_lost=self.count(Fate.LOST),
            num_censored=self.total("num_censored"),
            latency=self._durations("latency"),
            lateness=self._durations("lateness"),
        )

    def _durations(self, key: str) -> Distribution:
        """Return what the workers' reports count of a duration, together."""
        known = (one.report[key] for one in self if key in one.report)
        return merged(Distribution.from_json(values) for values in known)

    def _worst_lateness_us(self) -> int | None:
        """Return the largest recent p99 of lateness of any worker."""
        known = [one.report.get("lateness_p99_us") for one in self]
        return max((value for value in known if value is not None), default=None)
