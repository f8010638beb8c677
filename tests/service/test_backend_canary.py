"""The canary on a clock and an engine in the test's hands: when it asks, what it asks, how it judges."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.backend.canary import difference
from service.domain import CanaryStatistics, VariantParity
from service.errors import StartupError
from tests.service.backend_world import Asked, World, card, settle

pytestmark = pytest.mark.anyio
INTERVAL_S = 60.0
CANARY = (np.array([1, 2], dtype=np.int32), np.array([7], dtype=np.int32))


async def watching(*, interval_s: float = INTERVAL_S, num_slots: int = 2, **limits: float) -> World:
    """Start a backend of two variants with canaries; the engine answers them at load."""
    parity = VariantParity(max_error=0, mean_error=0, agreement=1, num_answers=1, batch_error=0.025)
    world = World(
        num_slots=num_slots,
        cards=[card("v"), card("w", parity=parity)],
        canary=CANARY,
        canary_interval_s=interval_s,
        **limits,
    )
    starting = asyncio.ensure_future(world.started())
    await settle()
    for number in range(2 if interval_s else 0):
        await world.engine.finish(world.engine.asked[number], seconds=0.0)
    await starting
    return world


def of(world: World, variant: str) -> CanaryStatistics:
    return next(one for one in world.backend.statistics().canaries if one.variant == variant)


async def next_check(world: World) -> Asked:
    """Let half of an interval pass, after which the next of two variants is asked."""
    before = len(world.engine.asked)
    await world.clock.advance(INTERVAL_S / 2)
    assert len(world.engine.asked) == before + 1
    return world.engine.asked[-1]


async def test_each_variant_is_asked_once_an_interval_in_turn() -> None:
    world = await watching()
    variants = []
    for _ in range(4):
        asked = await next_check(world)
        assert asked.ids == [[1, 2], [7]]
        variants.append(asked.lane.variant)
        await world.engine.finish(asked, seconds=0.0)
    assert variants == ["v", "w", "v", "w"]
    assert of(world, "v") == CanaryStatistics(
        variant="v", ok=True, difference=0.0, num_ok=2, num_failed=0, num_skipped=0
    )


async def test_no_check_begins_before_the_last_one_has_ended() -> None:
    world = await watching()
    asked = await next_check(world)
    await world.clock.advance(INTERVAL_S * 0.9)
    assert world.engine.asked[-1] is asked
    await world.engine.finish(asked, seconds=0.0)
    assert (await next_check(world)).lane.variant == "w"


async def test_an_interval_of_zero_asks_nothing() -> None:
    world = await watching(interval_s=0.0)
    await world.clock.advance(10_000)
    assert world.engine.asked == []
    assert world.backend.statistics().canaries == ()
    assert world.clock.num_timers == 0


async def test_an_answer_that_changed_fails_its_variant_alone_until_it_is_right_again() -> None:
    world = await watching()
    world.engine.wrong = 1.0  # of 7, the largest at load
    await world.engine.finish(await next_check(world), seconds=0.0)
    found = of(world, "v")
    assert (found.ok, found.num_ok, found.num_failed) == (False, 0, 1)
    assert found.difference == pytest.approx(1 / 7)
    world.engine.wrong = 0.0
    await world.engine.finish(await next_check(world), seconds=0.0)
    assert (of(world, "v").ok, of(world, "w").ok) == (False, True)
    await world.engine.finish(await next_check(world), seconds=0.0)
    assert (of(world, "v").ok, of(world, "v").num_ok) == (True, 1)


@pytest.mark.parametrize(
    ("wrong", "of_v", "of_w"), [(0.06, True, True), (0.5, False, True), (0.8, False, False)]
)
async def test_rounding_as_at_load_is_no_failure(wrong: float, of_v: bool, of_w: bool) -> None:  # noqa: FBT001 - a table
    """The largest logit is 7: v may be off by 1 % of it, and w, which was off by 2.5 % at load, by 10 %."""
    world = await watching()
    world.engine.wrong = wrong
    for _ in range(2):
        await world.engine.finish(await next_check(world), seconds=0.0)
    assert (of(world, "v").ok, of(world, "w").ok) == (of_v, of_w)


async def test_a_device_that_cannot_answer_fails_the_canary() -> None:
    world = await watching()
    await world.engine.fail(await next_check(world), RuntimeError("device"), seconds=0.0)
    for asked in world.engine.asked[-2:]:  # each sequence again, by itself
        if not asked.future.done():
            await world.engine.fail(asked, RuntimeError("device"), seconds=0.0)
    while not of(world, "v").num_failed:
        await world.engine.fail(world.engine.asked[-1], RuntimeError("device"), seconds=0.0)
    assert of(world, "v").ok is False
    assert of(world, "v").difference == np.inf


async def test_what_overload_left_unanswered_says_nothing() -> None:
    world = await watching(num_slots=1)
    running = world.submit([1])
    await settle()
    await world.clock.advance(INTERVAL_S / 2)  # asked, and waits behind an engine that never ends
    await world.clock.advance(INTERVAL_S)  # its deadline
    assert of(world, "v") == CanaryStatistics(
        variant="v", ok=True, difference=0.0, num_ok=0, num_failed=0, num_skipped=1
    )
    running.cancel()


async def test_requests_go_first() -> None:
    world = await watching(num_slots=1)
    running = world.submit([9])
    await settle()
    await world.clock.advance(INTERVAL_S / 2)
    request = world.submit([3], variant="w")
    await settle()
    await world.engine.finish(world.engine.asked[-1], seconds=0.0)
    assert world.engine.asked[-1].ids == [[3]]
    await world.engine.finish(world.engine.asked[-1], seconds=0.0)
    assert world.engine.asked[-1].ids == [[1, 2], [7]]
    assert (await running, await request) == ([9.0], [3.0])


async def test_closing_ends_the_checks() -> None:
    world = await watching()
    await next_check(world)
    world.backend.close()
    await settle()
    assert world.clock.num_timers == 0


async def test_a_variant_that_cannot_answer_at_load_is_not_served() -> None:
    world = World(cards=[card("v")], canary=CANARY, canary_interval_s=INTERVAL_S)
    starting = asyncio.ensure_future(world.started())
    await settle()
    await world.engine.fail(world.engine.asked[0], RuntimeError("device"))
    with pytest.raises(StartupError, match="Variant v cannot answer its canary"):
        await starting


def test_difference_is_relative_to_the_largest_logit_wanted() -> None:
    wanted = [np.array([1.0, -4.0], np.float32), np.array([2.0], np.float32)]
    found = [np.array([1.5, -4.0], np.float32), np.array([1.0], np.float32)]
    assert difference(found, wanted) == 0.25
    assert difference(wanted, wanted) == 0.0
    assert difference([wanted[0], np.array([np.nan], np.float32)], wanted) == np.inf
    nothing = [np.zeros(2, np.float32)]
    assert difference(nothing, nothing) == 0.0
    assert difference([np.ones(2, np.float32)], nothing) == np.inf
