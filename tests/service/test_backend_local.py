"""The shell around scheduler and engine: every work ends once, whatever happens around it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from service.batching.cost import Load, Measurement
from service.domain import BackendStatistics, BatchReport, Phase
from service.errors import DeadlineError, EngineError, NotReadyError, QueueFullError
from tests.service.backend_world import SHAPE, World, settle
from tests.service.remote_world import remote_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.batching.decisions import Decision

pytestmark = pytest.mark.anyio


class DeviceError(Exception):
    """What a device may raise."""


@pytest.fixture(params=["in this process", "behind a socket"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The laws hold wherever the backend is."""
    if request.param == "in this process":
        yield await World().started()
    else:
        async with remote_world(tmp_path) as world:
            yield world


@pytest.fixture
async def here() -> World:
    return await World().started()


async def test_a_work_gets_the_logits_of_each_of_its_sequences_in_order(world: World) -> None:
    answer = world.submit([1, 2], [3], [4])
    await settle()
    (batch,) = world.engine.asked
    assert batch.ids == [[1, 2], [3], [4]]
    await world.engine.finish(batch)
    assert await answer == [3.0, 3.0, 4.0]


async def test_times_are_those_of_the_sequence_answered_last(world: World) -> None:
    work = world.work([1] * 8, [2] * 8)
    outcome = asyncio.ensure_future(world.front.submit(work))
    await settle()
    first, second = world.engine.asked
    await world.clock.advance(0.5)
    await world.engine.finish(first, seconds=2.0)
    assert not outcome.done()
    await world.engine.finish(second, seconds=3.0)
    answered = await outcome
    assert answered.queue_s == pytest.approx(0.5 + 2.0)
    assert answered.infer_s == pytest.approx(3.0)


async def test_what_comes_in_one_turn_of_the_loop_shares_a_batch(world: World) -> None:
    answers = [world.submit([n]) for n in (1, 2, 3)]
    await settle()
    (batch,) = world.engine.asked
    await world.engine.finish(batch)
    assert [await answer for answer in answers] == [[1.0], [2.0], [3.0]]


async def test_the_engine_is_asked_when_there_is_nothing_more_to_decide(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread wakes at once, and would wait for the interpreter's lock while the loop goes on."""
    decide, num_asked = here.backend._scheduler.decide, []

    def noting(now: float, free_slots: int) -> Decision:
        num_asked.append(len(here.engine.asked))
        return decide(now, free_slots)

    monkeypatch.setattr(here.backend._scheduler, "decide", noting)
    answers = [here.submit([1]), here.submit([2], variant="w")]
    await settle()
    assert num_asked == [0, 0, 0]
    assert len(here.engine.asked) == 2
    for batch in list(here.engine.asked):
        await here.engine.finish(batch)
    assert [await answer for answer in answers] == [[1.0], [2.0]]


async def test_lanes_are_not_mixed(world: World) -> None:
    answers = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    assert sorted(batch.lane.variant for batch in world.engine.asked) == ["v", "w"]
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert [await answer for answer in answers] == [[1.0], [2.0]]


async def test_one_batch_is_prefetched_and_the_rest_waits_for_a_free_slot(world: World) -> None:
    answers = []
    for n in range(1, 6):
        answers.append(world.submit([n]))
        await settle()
    assert [batch.ids for batch in world.engine.asked] == [[[1]], [[2]]]
    assert (await world.statistics()).queue_requests == 3
    assert (await world.statistics()).queue_tokens == 3
    await world.engine.finish(world.engine.asked[0])
    assert world.engine.asked[2].ids == [[3], [4], [5]]
    await world.engine.finish(world.engine.asked[1])
    await world.engine.finish(world.engine.asked[2])
    assert [await answer for answer in answers] == [[1.0], [2.0], [3.0], [4.0], [5.0]]


async def test_work_given_up_while_it_waits_is_never_run(world: World) -> None:
    running = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    waiting, kept = world.submit([3]), world.submit([4])
    await settle()
    waiting.cancel()
    await settle()
    assert (await world.statistics()).queue_requests == 1
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert world.engine.asked[2].ids == [[4]]
    await world.engine.finish(world.engine.asked[2])
    assert await kept == [4.0]
    assert [await answer for answer in running] == [[1.0], [2.0]]
    assert waiting.cancelled()


async def test_work_given_up_while_it_runs_leaves_its_batch_mates_alone(world: World) -> None:
    gone, stays = world.submit([1]), world.submit([2])
    await settle()
    gone.cancel()
    await settle()
    (batch,) = world.engine.asked
    await world.engine.finish(batch)
    assert await stays == [2.0]
    assert gone.cancelled()
    assert (await world.statistics()).queue_requests == 0


async def test_a_deadline_that_passes_in_the_queue_fails_the_work_and_it_is_never_run(world: World) -> None:
    running = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    late = world.submit([3], timeout_s=0.5)
    await settle()
    await world.clock.advance(0.49)
    assert not late.done()
    await world.clock.advance(0.01)
    with pytest.raises(DeadlineError, match="X-Request-Timeout-Ms"):
        await late
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    assert len(world.engine.asked) == 2
    assert [await answer for answer in running] == [[1.0], [2.0]]


async def test_a_deadline_that_passes_on_the_engine_fails_the_work_at_once(world: World) -> None:
    late, mate = world.submit([1], timeout_s=0.5), world.submit([2])
    await settle()
    (batch,) = world.engine.asked
    await world.clock.advance(0.5)
    with pytest.raises(DeadlineError):
        await late
    await world.engine.finish(batch)
    assert await mate == [2.0]


async def test_the_rest_of_a_late_work_is_dropped_from_the_queue(world: World) -> None:
    late = world.submit([1] * 8, [2] * 8, [3] * 8, timeout_s=0.5)
    await settle()
    assert (await world.statistics()).queue_tokens == 8
    await world.clock.advance(0.5)
    with pytest.raises(DeadlineError):
        await late
    assert (await world.statistics()).queue_tokens == 0


async def test_a_work_that_comes_after_its_deadline_is_refused(world: World) -> None:
    work = world.work([1], timeout_s=0.5)
    await world.clock.advance(0.5)
    with pytest.raises(DeadlineError):
        await world.front.submit(work)
    assert world.engine.asked == []


async def test_answered_work_leaves_no_timer_behind(world: World) -> None:
    answer = world.submit([1], timeout_s=60.0)
    await settle()
    await world.engine.finish(world.engine.asked[0])
    assert await answer == [1.0]
    await settle()
    assert world.clock.num_timers == 0


async def test_a_full_queue_refuses_work_whole_and_says_when_to_come_back() -> None:
    world = await World(max_queue_tokens=8).started()
    running = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    waiting = world.submit([3] * 6)
    await settle()
    with pytest.raises(QueueFullError) as refusal:
        await world.backend.submit(world.work([4], [5], [6]))
    assert refusal.value.retry_after_s > 0.0
    for batch in list(world.engine.asked):
        await world.engine.finish(batch)
    await world.engine.finish(world.engine.asked[2])
    assert await waiting == [18.0]
    assert [await answer for answer in running] == [[1.0], [2.0]]
    assert len(world.engine.asked) == 3


async def test_an_idle_engine_waits_for_a_fuller_batch_where_that_is_asked_for() -> None:
    world = await World(max_wait_s=0.2).started()
    first = world.submit([1])
    await settle()
    await world.clock.advance(0.19)
    second = world.submit([2])
    await settle()
    assert world.engine.asked == []
    await world.clock.advance(0.01)
    (batch,) = world.engine.asked
    assert batch.ids == [[1], [2]]
    await world.engine.finish(batch)
    assert (await first, await second) == ([1.0], [2.0])
    assert world.observer.batches[0].cut == "wait"


async def test_the_bad_request_of_a_failed_batch_fails_alone(world: World) -> None:
    good, bad, other = world.submit([1]), world.submit([2], [3]), world.submit([4])
    await settle()
    await world.engine.fail(world.engine.asked[0], DeviceError("secret"))
    await world.engine.finish(world.engine.asked[1])
    assert world.engine.asked[2].ids == [[2]]
    await world.engine.fail(world.engine.asked[2], DeviceError("secret"))
    # The rest of a work that has failed is not run.
    assert world.engine.asked[3].ids == [[4]]
    await world.engine.finish(world.engine.asked[3])
    assert (await good, await other) == ([1.0], [4.0])
    with pytest.raises(EngineError) as failure:
        await bad
    assert "secret" not in str(failure.value)
    assert (await world.statistics()).ready


async def test_a_request_that_fails_alone_is_not_tried_again(world: World) -> None:
    bad = world.submit([1])
    await settle()
    await world.engine.fail(world.engine.asked[0], DeviceError())
    with pytest.raises(EngineError, match="DeviceError"):
        await bad
    assert len(world.engine.asked) == 1
    good = world.submit([2])
    await settle()
    await world.engine.finish(world.engine.asked[1])
    assert await good == [2.0]


async def test_observer_and_statistics_hear_of_every_batch(here: World) -> None:
    answers = [here.submit([1, 1]), here.submit([2])]
    await settle()
    await here.engine.finish(here.engine.asked[0], seconds=0.25)
    failing = [here.submit([3]), here.submit([4])]
    await settle()
    await here.engine.fail(here.engine.asked[1], DeviceError(), seconds=0.5)
    await here.engine.finish(here.engine.asked[2], seconds=0.5)
    await here.engine.finish(here.engine.asked[3], seconds=0.5)
    assert [await answer for answer in answers + failing] == [[2.0], [2.0], [3.0], [4.0]]
    first, second = here.observer.batches
    assert first == BatchReport(
        variant="v",
        cut="empty",
        num_tokens=3,
        num_sequences=2,
        max_tokens=10,
        engine_s=0.25,
        predicted_s=0.0,
        failed=False,
        started_at=100.0,
    )
    assert (second.failed, second.num_sequences) == (True, 2)
    assert second.engine_s == pytest.approx(1.5)
    assert second.predicted_s > 0.0
    assert here.backend.statistics() == BackendStatistics(
        queue_requests=0,
        queue_tokens=0,
        engine_busy_s=1.75,
        num_batches=2,
        ready=True,
        alive=True,
        phase=Phase.READY,
        num_loads={"v": 1, "w": 1, "e": 1},
    )


@pytest.mark.parametrize(
    ("start_s", "token_s", "limit", "budget"),
    [
        # A budget T gives T / (start + T * token) tokens a second; the knee is the smallest power of
        # two with 95 % of what 65,536 gives.
        (0.019, 1e-5, 100_000, 32_768),
        (0.001, 1e-5, 100_000, 2_048),
        (0.001, 1e-5, 1_000, 1_000),  # never above what was asked for
        (0.0, 1e-5, 100_000, 512),  # nor below the longest sequence
    ],
)
async def test_the_budget_is_put_where_warm_up_found_the_knee(
    start_s: float, token_s: float, limit: int, budget: int
) -> None:
    world = World(max_batch_tokens=limit)
    loads = [Load.of([length] * count) for length, count in [(4, 1), (16, 8), (128, 1), (64, 32), (128, 64)]]
    world.engine.measured[SHAPE] = tuple(
        Measurement(load=load, seconds=start_s + token_s * load.num_tokens) for load in loads
    )
    await world.started(calibrate_budget=True)
    world.submit(*([1] * 64 for _ in range(budget // 64 + 1)))
    await settle()
    assert sum(map(len, world.engine.asked[0].sequences)) == budget // 64 * 64


async def test_before_the_weights_are_loaded_work_is_refused_but_the_process_lives() -> None:
    world = World()
    with pytest.raises(NotReadyError, match="loading"):
        await world.backend.submit(world.work([1]))
    statistics = world.backend.statistics()
    assert (statistics.ready, statistics.alive, statistics.phase) == (False, True, Phase.STARTING)
    assert world.backend.cards() == ()


async def test_draining_answers_what_was_admitted_and_refuses_the_rest(here: World) -> None:
    answer = here.submit([1])
    await settle()
    drained = asyncio.ensure_future(here.backend.drain(60.0))
    await settle()
    with pytest.raises(NotReadyError, match="shutting down"):
        await here.backend.submit(here.work([2]))
    assert not here.backend.statistics().ready
    assert not drained.done()
    await here.engine.finish(here.engine.asked[0])
    assert await drained
    assert await answer == [1.0]


async def test_draining_ends_at_its_timeout(here: World) -> None:
    answer = here.submit([1])
    await settle()
    assert not await here.backend.drain(0.0)
    here.backend.close()
    with pytest.raises(NotReadyError, match="has shut down"):
        await answer


async def test_closing_ends_every_work_and_stops_the_engine(here: World) -> None:
    answers = [here.submit([1]), here.submit([2], variant="w"), here.submit([3], timeout_s=9.0)]
    await settle()
    here.backend.close()
    for answer in answers:
        with pytest.raises(NotReadyError):
            await answer
    assert not here.engine.alive
    await settle()
    assert here.clock.num_timers == 0


async def test_a_bug_below_fails_everybody_and_says_that_the_process_is_dead(
    here: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = here.submit([1])
    await settle()

    def broken(now: float, free_slots: int) -> None:
        raise AssertionError("This is a bug.")

    monkeypatch.setattr(here.backend._scheduler, "decide", broken)
    waiting = here.submit([2])
    for answer in (running, waiting):
        with pytest.raises(EngineError):
            await answer
    statistics = here.backend.statistics()
    assert (statistics.ready, statistics.alive, statistics.phase) == (False, False, Phase.BROKEN)
    with pytest.raises(NotReadyError, match="must be restarted"):
        await here.backend.submit(here.work([3]))


async def test_an_engine_that_is_gone_is_told(here: World) -> None:
    here.engine.alive = False
    statistics = here.backend.statistics()
    assert (statistics.ready, statistics.alive) == (False, False)
