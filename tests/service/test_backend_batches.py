"""A batch from its dispatch to its report: who waits for it, and what becomes of it when things go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from service.domain import Phase
from service.engine.contract import Failed, Run
from service.errors import EngineError, NotReadyError
from tests.service.backend_world import World, settle

if TYPE_CHECKING:
    from service.domain import BatchReport

pytestmark = pytest.mark.anyio


async def test_a_batch_that_is_tried_again_one_by_one_keeps_its_slot_until_it_ends() -> None:
    world = await World(num_slots=1).started()
    first, second = world.submit([1]), world.submit([2])
    await settle()
    behind = world.submit([3])
    await settle()
    await world.engine.fail(world.engine.asked[0], RuntimeError())
    await world.engine.finish(world.engine.asked[1])
    assert [asked.ids for asked in world.engine.asked] == [[[1], [2]], [[1]], [[2]]]
    assert await first == [1.0]
    assert world.observer.batches == []
    await world.engine.finish(world.engine.asked[2])
    assert await second == [2.0]
    assert world.engine.asked[3].ids == [[3]]
    await world.engine.finish(world.engine.asked[3])
    assert await behind == [3.0]
    assert [(one.failed, one.num_sequences) for one in world.observer.batches] == [(True, 2), (False, 1)]


async def test_nobody_waits_for_a_failed_batch_and_it_is_not_tried_again() -> None:
    world = await World(num_slots=1).started()
    works = [world.submit([1]), world.submit([2])]
    await settle()
    for work in works:
        work.cancel()
    await settle()
    await world.engine.fail(world.engine.asked[0], RuntimeError())
    assert len(world.engine.asked) == 1
    assert [one.failed for one in world.observer.batches] == [True]
    stays = world.submit([3])
    await settle()
    await world.engine.finish(world.engine.asked[1])
    assert await stays == [3.0]


@pytest.mark.parametrize("error", [NotReadyError("The engine has stopped."), SystemExit(1)])
async def test_an_engine_that_ends_by_itself_breaks_the_backend(error: BaseException) -> None:
    """Also by what is no ``Exception``: its thread hands that over like any other."""
    world = await World().started()
    works = [world.submit([1]), world.submit([2], variant="w")]
    await settle()
    with capture_logs() as logs:
        world.engine.asked[0].future.set_exception(error)
        await settle()
    assert [log["event"] for log in logs] == ["backend_broken"]
    for work in works:
        with pytest.raises(EngineError, match="Send it again later"):
            await work
    assert world.backend.statistics().phase is Phase.BROKEN


async def test_an_engine_that_answers_too_little_breaks_the_backend() -> None:
    world = await World().started()
    work = world.submit([1], [2])
    await settle()
    world.engine.asked[0].future.set_result(Run(logits=(), started_at=0.0, finished_at=1.0))
    with pytest.raises(EngineError, match="Send it again later"):
        await work
    assert world.backend.statistics().phase is Phase.BROKEN


async def test_an_observer_that_fails_breaks_the_backend_after_the_answers() -> None:
    world = await World().started()

    def fail(report: BatchReport) -> None:
        raise RuntimeError(report)

    world.observer.batch_ended = fail  # type: ignore[method-assign]  # this one's alone
    answered = world.submit([1])
    await settle()
    await world.engine.finish(world.engine.asked[0])
    assert await answered == [1.0]
    assert world.backend.statistics().phase is Phase.BROKEN


@pytest.mark.parametrize("fails", [False, True])
async def test_what_lands_after_the_end_is_dropped(*, fails: bool) -> None:
    world = await World().started()
    works = [world.submit([1]), world.submit([2])]
    await settle()
    (asked,) = world.engine.asked
    world.backend.close()
    with capture_logs() as logs:
        if fails:
            await world.engine.fail(asked, RuntimeError())
        else:
            await world.engine.finish(asked)
    assert logs == []
    assert len(world.engine.asked) == 1
    assert world.observer.batches == []
    assert world.backend.statistics().phase is Phase.CLOSED
    for work in works:
        with pytest.raises(NotReadyError):
            await work


async def test_an_answer_on_its_way_at_the_end_is_dropped() -> None:
    world = await World().started()
    work = world.submit([1])
    await settle()
    # The engine has asked the loop to hear of it, and the loop has not come to that.
    world.engine.asked[0].future.set_result(Failed(error=RuntimeError(), started_at=0.0, finished_at=0.0))
    world.backend.close()
    await settle()
    assert world.observer.batches == []
    with pytest.raises(NotReadyError):
        await work


async def test_answers_in_one_turn_are_heard_in_the_order_in_which_they_came() -> None:
    world = await World(num_slots=3).started()
    works = []
    for n in (1, 2, 3):
        works.append(world.submit([n]))
        await settle()
    for place in (1, 0, 2):
        failed = Failed(error=RuntimeError(), started_at=float(place), finished_at=float(place))
        world.engine.asked[place].future.set_result(failed)
    answers = await asyncio.gather(*works, return_exceptions=True)
    assert [type(answer) for answer in answers] == [EngineError] * 3
    assert [one.started_at for one in world.observer.batches] == [1.0, 0.0, 2.0]


def test_an_engine_that_answers_after_its_loop_is_gone_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def begin() -> World:
        world = await World().started()
        work = world.submit([7])
        await settle()
        work.cancel()
        await asyncio.wait([work])
        return world

    world = asyncio.run(begin())
    world.engine.asked[0].future.set_result(Run(logits=(), started_at=0.0, finished_at=0.0))
    assert caplog.records == []
    assert world.observer.batches == []
