"""A device that does not come back from a batch: the service says that it must be restarted, and answers."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from service.backend.local import LocalBackend
from service.backend.stuck import Limit, limit_s
from service.batching.cost import Load, Measurement
from service.batching.decisions import Limits
from service.domain import Phase
from service.errors import EngineError, NotReadyError
from tests.service.backend_world import SHAPE, FakeClock, World, settle

pytestmark = pytest.mark.anyio
LEAST_S = 60.0


class StuckWorld(World):
    """A backend that takes a batch for stuck, on an engine that was measured at 4 s a token."""

    def __init__(self, *, is_measured: bool = True) -> None:
        super().__init__()
        self.num_broken = 0
        if is_measured:
            self.engine.measured = {
                SHAPE: tuple(
                    Measurement(load=Load.of((length,)), seconds=4.0 * length) for length in (1, 2, 4, 8)
                )
            }
        self.backend = self.front = LocalBackend(
            engine=self.engine,
            limits=Limits(max_batch_tokens=10, max_queue_tokens=1000),
            num_slots=2,
            clock=self.clock,
            observer=self.observer,
            stuck_batch_s=LEAST_S,
            on_broken=self.broken,
        )

    def broken(self) -> None:
        self.num_broken += 1

    async def started(self, *, calibrate_budget: bool = False) -> StuckWorld:
        await super().started(calibrate_budget=calibrate_budget)
        return self


@pytest.mark.parametrize(
    ("expected_s", "limit"), [(0.001, 60.0), (6.0, 60.0), (6.5, 65.0), (100.0, 1000.0), (0.0, 600.0)]
)
def test_the_limit_is_generous(expected_s: float, limit: float) -> None:
    assert limit_s(LEAST_S, expected_s) == pytest.approx(limit)


async def test_a_stopped_process_takes_no_batch_for_stuck() -> None:
    clock, ends = FakeClock(), []
    limit = Limit(10.0, lambda: ends.append(clock.time()), clock=clock)
    clock._now += 3600.0  # nothing here ran
    await clock.advance(8.9)
    assert ends == []
    await clock.advance(0.1)
    assert ends == [100.0 + 3600.0 + 9.0]
    limit.end()
    other = Limit(10.0, lambda: ends.append(clock.time()), clock=clock)
    await clock.advance(5.0)
    other.end()
    await clock.advance(100.0)
    assert len(ends) == 1
    assert clock.num_timers == 0


async def test_a_batch_that_does_not_come_back_breaks_the_backend() -> None:
    world = await StuckWorld().started()
    stuck = world.submit([1, 2, 3])  # 12 s are expected: 120 s are allowed
    behind = world.submit([4], variant="w")
    await settle()
    await world.clock.advance(119.0)
    assert world.backend.statistics().alive
    assert not stuck.done()
    with capture_logs() as logs:
        await world.clock.advance(1.0)
    assert [log["event"] for log in logs] == ["batch_stuck", "backend_broken"]
    assert (logs[0]["variant"], logs[0]["num_tokens"], logs[0]["waited_s"]) == ("v", 3, 120.0)
    assert world.num_broken == 1
    statistics = world.backend.statistics()
    assert (statistics.alive, statistics.ready, statistics.phase) == (False, False, Phase.BROKEN)
    for work in (stuck, behind):
        with pytest.raises(EngineError, match="Send it again later"):
            await work
    with pytest.raises(NotReadyError, match="must be restarted"):
        await world.backend.submit(world.work([5]))


async def test_a_batch_is_given_the_time_of_those_before_it() -> None:
    world = await StuckWorld().started()
    first, second = world.submit([1] * 4), world.submit([2] * 5, variant="w")
    await settle()
    assert len(world.engine.asked) == 2
    await world.engine.finish(world.engine.asked[0], seconds=150.0)
    await world.clock.advance(200.0)  # of (16 + 20) * 10 that the second one has
    assert world.backend.statistics().alive
    await world.engine.finish(world.engine.asked[1], seconds=1.0)
    assert [await first, await second] == [[4.0], [10.0]]
    await world.clock.advance(10_000.0)
    assert world.backend.statistics().alive
    assert world.clock.num_timers == 0


async def test_where_nothing_is_known_of_the_cost_much_more_is_allowed() -> None:
    world = await StuckWorld(is_measured=False).started()
    slow = world.submit([1])
    await settle()
    await world.clock.advance(599.0)
    assert world.backend.statistics().alive
    await world.engine.finish(world.engine.asked[0], seconds=0.5)
    assert await slow == [1.0]
    assert world.backend.statistics().alive


async def test_batches_that_are_tried_again_one_by_one_are_watched_too() -> None:
    world = await StuckWorld().started()
    works = [world.submit([1]), world.submit([2])]
    await settle()
    await world.engine.fail(world.engine.asked[0], RuntimeError("out of memory"))
    assert world.engine.asked[1].ids == [[1]]
    with capture_logs() as logs:
        await world.clock.advance(80.0)
    assert "batch_stuck" in [log["event"] for log in logs]
    for work in works:
        with pytest.raises(EngineError):
            await work


async def test_nobody_watches_a_batch_after_the_end() -> None:
    world = await StuckWorld().started()
    works = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    assert world.clock.num_timers == 2
    world.backend.close()
    assert world.clock.num_timers == 0
    for work in works:
        with pytest.raises(NotReadyError):
            await work
