"""All that comes before the first timed request: target, arm and trace fit, candidates are embedded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loadtest.driver.errors import UsageError
from loadtest.driver.index import Indexer
from loadtest.driver.matching import match_arm
from loadtest.driver.plan import Mode, Plan
from loadtest.driver.service_client import ServiceClient
from loadtest.driver.wire import parse_target

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from loadtest.driver.matching import Match
    from loadtest.driver.trace_source import TraceSource
    from loadtest.trace.arm import Arm


class Watcher(Protocol):
    """Is told how the preparation gets on."""

    def waiting(self, said: str, left_s: float) -> None:
        """The target is not ready: what it said, and how long it will be asked."""
        ...

    def indexing(self, task: str, done: int, total: int) -> None:
        """Some candidates of a task are embedded."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a user asks for. ``index``: folder of candidates' vectors; None where none are to be made."""

    target: str
    replicate: int
    timeout_s: float
    max_inflight: int
    ready_timeout_s: float
    index: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan that fits its target, and what the record keeps of how it came about."""

    plan: Plan
    match: Match
    indexed: tuple[str, ...]


def prepare(source: TraceSource, arm: Arm, request: Request, watcher: Watcher) -> Prepared:
    """Check trace, arm and target against each other, and embed the candidates.

    Raises:
        TraceError: the trace is damaged.
        UsageError: they do not fit.
        TargetError: the target is not there, or does not answer as it should.
    """
    trace = source.load()
    if not trace.arrivals:
        raise UsageError(f"The schedule of {trace.folder} is empty; build a trace with a longer duration.")
    mode, bound = _mode(trace.header.law, request.max_inflight)
    target = parse_target(request.target)
    with ServiceClient(target) as client:
        client.wait_until_ready(request.ready_timeout_s, watcher.waiting)
        found = match_arm(trace, arm, client.variants())
    plan = Plan(
        target=target.url,
        arm=arm.name,
        replicate=request.replicate,
        mode=mode,
        max_inflight=bound,
        timeout_s=request.timeout_s,
        variants=found.variants,
        layers=found.layers,
        schedule_sha256=source.schedule_sha256,
    )
    indexed: tuple[str, ...] = ()
    if request.index is not None:
        indexer = Indexer(
            plan=plan, cards=found.cards, target=target, folder=request.index, show=watcher.indexing
        )
        indexed = indexer.build(trace)
    return Prepared(plan=plan, match=found, indexed=indexed)


def changed_weights(plan: Plan, before: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...] | None:
    """Return the variants that are not what they were before the run; None where that cannot be told.

    Raises:
        TargetError: the target no longer answers.
    """
    with ServiceClient(parse_target(plan.target)) as client:
        after = {str(card.get("name")): card for card in client.variants()}
    marks = {name: weights_of(card) for name, card in before.items()}
    if not any(marks.values()):
        return None
    return tuple(name for name, mark in marks.items() if weights_of(after.get(name, {})) != mark)


def weights_of(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what identifies the weights behind a variant, as far as the target tells."""
    return tuple(str(card[key]) for key in ("digest", "revision", "dtype") if card.get(key))


def _mode(law: str, max_inflight: int) -> tuple[Mode, int | None]:
    """Return how a law is sent, and how many requests may be outstanding; None for any number.

    The law's text was checked when the trace was built; its arithmetic is not needed to send it.
    """
    name, _, number = law.partition(":")
    match name:
        case "offline":
            return Mode.OFFLINE, max_inflight
        case "closed":
            if not number.isdecimal() or not int(number):
                raise UsageError(
                    f"The trace has the law {law!r}, which names no number of clients; build it again."
                )
            return Mode.CLOSED, int(number)
        case _:
            return Mode.OPEN, None
