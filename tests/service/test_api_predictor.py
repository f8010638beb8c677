"""From inputs to answers through any backend; nothing here knows which one it is."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from service.api.predictor import Predictor
from service.api.question import Answered, Prediction, Question, Served
from service.domain import BackendStatistics, Outcome, Phase, Pooling, VariantCard, Work
from service.errors import (
    AllInputsError,
    DeadlineError,
    EmptyTextError,
    NotReadyError,
    QueueFullError,
    ShapeError,
    UnknownVariantError,
)
from service.tasks.parameters import Overrides
from service.tasks.text_input import TextInput
from tests.service.backend_world import card
from tests.service.fake_tokenizer import FakeTokenizer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from collections.abc import Sequence as Many

pytestmark = pytest.mark.anyio
TIMEOUT_S = 60.0


class SumBackend:
    """A backend whose logits are the length of a sequence, when its gate is open."""

    def __init__(self) -> None:
        self.phase = Phase.READY
        self.gate = asyncio.Event()
        self.gate.set()
        self.works: list[Work] = []
        self.asked = asyncio.Event()
        self._cards = (
            card("c"),
            card("t", "tag"),
            card("e", "embed", hidden_size=8192),
            card("p", "embed", has_pooler=False),
        )

    async def submit(self, work: Work) -> Outcome:
        self.works.append(work)
        self.asked.set()
        await self.gate.wait()
        head = next(one for one in self._cards if one.name == work.lane.variant)
        logits = tuple(self._logits(head, len(ids)) for ids in work.sequences)
        return Outcome(logits=logits, queue_s=0.25, infer_s=0.5)

    def _logits(self, head: VariantCard, length: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        shape = {"classify": (3,), "tag": (length, 3), "embed": (head.hidden_size,)}[head.head]
        return np.full(shape, length, dtype=np.float32)

    def cards(self) -> Many[VariantCard]:
        return self._cards

    def statistics(self) -> BackendStatistics:
        ready = self.phase is Phase.READY
        return BackendStatistics(
            queue_requests=0, queue_tokens=0, engine_busy_s=0.0, num_batches=0, ready=ready, phase=self.phase
        )


class BlockingTokenizer(FakeTokenizer):
    """Waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def encode(self, texts: Many[str]) -> Any:
        assert self.go.wait(TIMEOUT_S)
        return super().encode(texts)


class NotingTokenizer(FakeTokenizer):
    """Notes on which thread it cut how many texts."""

    def __init__(self) -> None:
        super().__init__()
        self.cut_on: list[str] = []
        self.sizes: list[int] = []

    def encode_ids(self, texts: Many[str]) -> Any:
        self.cut_on.append(threading.current_thread().name)
        self.sizes.append(len(texts))
        return super().encode_ids(texts)


class World:
    def __init__(self, *, max_requests: int = 8) -> None:
        self.backend = SumBackend()
        self.encoders = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self.decoders = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self.rendered_on: list[str] = []
        self.predictions: list[Prediction] = []
        self.predictor = Predictor(
            backend=self.backend,
            encoders=self.encoders,
            decoders=self.decoders,
            clock=time.monotonic,
            max_requests=max_requests,
        )

    def open(self, tokenizer: FakeTokenizer | None = None) -> None:
        used = FakeTokenizer() if tokenizer is None else tokenizer
        self.predictor.open(Served(card=card, tokenizer=used) for card in self.backend.cards())

    def render(self, prediction: Prediction) -> bytes:
        self.rendered_on.append(threading.current_thread().name)
        self.predictions.append(prediction)
        return b"rendered"

    def question(
        self, variant: str, *inputs: TextInput, timeout_s: float = TIMEOUT_S, **overrides: Any
    ) -> Question:
        now = time.monotonic()
        return Question(
            served=self.predictor.served(variant),
            inputs=inputs,
            overrides=Overrides(**overrides),
            began_at=now,
            deadline=now + timeout_s,
        )

    def ask(self, *args: Any, **more: Any) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.predictor.answer(self.question(*args, **more), self.render))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    for executor in (world.encoders, world.decoders):
        executor.shutdown()


TEXT = TextInput(text="a b c")


async def test_answers_stand_in_the_place_of_their_inputs(world: World) -> None:
    world.open()
    reply = await world.ask("c", TEXT, TextInput(text=""), TextInput(text="a b c d"))
    (prediction,) = world.predictions
    first, second, third = prediction.results
    assert isinstance(first, Answered)
    assert isinstance(second, EmptyTextError)
    assert isinstance(third, Answered)
    assert (reply.num_inputs, reply.num_failed) == (3, 1)
    assert reply.num_tokens == first.usage.tokens + third.usage.tokens
    assert [len(ids) for ids in world.backend.works[0].sequences] == [first.usage.tokens, third.usage.tokens]


async def test_stages_are_the_backends_and_the_rest_is_told_apart(world: World) -> None:
    world.open()
    before = time.monotonic()
    question = world.question("c", TEXT)
    reply = await world.predictor.answer(question, world.render)
    elapsed_s = time.monotonic() - before
    stages = reply.stages
    assert (stages.queue_s, stages.infer_s) == (0.25, 0.5)
    assert 0.0 <= stages.tokenize_s <= elapsed_s
    assert stages.decode_s >= 0.0


async def test_the_work_carries_lane_and_deadline(world: World) -> None:
    world.open()
    question = world.question("p", TEXT, layer=2, pooling=Pooling.CLS)
    await world.predictor.answer(question, world.render)
    (work,) = world.backend.works
    assert (work.lane.variant, work.lane.layer, work.lane.pooling) == ("p", 2, Pooling.CLS)
    assert work.deadline == question.deadline
    assert question.began_at <= work.arrived_at <= question.deadline


async def test_texts_are_cut_and_large_answers_read_off_the_event_loop(world: World) -> None:
    world.open()
    await world.ask("c", TEXT)
    await world.ask("e", TEXT)
    assert world.rendered_on[0] == threading.current_thread().name
    assert world.rendered_on[1].startswith("decode")


async def test_if_every_input_fails_nothing_is_submitted(world: World) -> None:
    world.open()
    with pytest.raises(AllInputsError) as refusal:
        await world.ask("c", TextInput(text=""), TextInput(text="\ud800"))
    assert [type(failure).__name__ for failure in refusal.value.failures] == [
        "EmptyTextError",
        "InvalidTextError",
    ]
    assert world.backend.works == []


async def test_a_pooler_that_is_not_there_is_refused(world: World) -> None:
    world.open()
    with pytest.raises(ShapeError, match="no pooler"):
        await world.ask("p", TEXT, pooling=Pooling.POOLER)
    await world.ask("e", TEXT, pooling=Pooling.POOLER)


async def test_the_deadline_holds_while_texts_are_cut(world: World) -> None:
    tokenizer = BlockingTokenizer()
    world.open(tokenizer)
    with pytest.raises(DeadlineError):
        await world.ask("c", TEXT, timeout_s=0.01)
    assert world.backend.works == []
    tokenizer.go.set()
    assert (await world.ask("c", TEXT)).num_failed == 0


async def test_only_so_many_requests_are_answered_at_once() -> None:
    world = World(max_requests=1)
    world.open()
    world.backend.gate.clear()
    first = world.ask("c", TEXT)
    await world.backend.asked.wait()
    with pytest.raises(QueueFullError, match="1 requests"):
        await world.ask("c", TEXT)
    world.backend.gate.set()
    await first
    await world.ask("c", TEXT)


async def test_a_question_that_is_given_up_makes_room(world: World) -> None:
    world.open()
    world.backend.gate.clear()
    task = world.ask("c", TEXT)
    await world.backend.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await world.predictor.drain(0.0)


async def test_draining_waits_for_questions_that_are_still_being_cut(world: World) -> None:
    tokenizer = BlockingTokenizer()
    world.open(tokenizer)
    task = world.ask("c", TEXT)
    await asyncio.sleep(0)
    drained = asyncio.ensure_future(world.predictor.drain(TIMEOUT_S))
    await asyncio.sleep(0)
    assert world.predictor.phase is Phase.DRAINING
    with pytest.raises(NotReadyError, match="shutting down"):
        await world.ask("c", TEXT)
    tokenizer.go.set()
    assert await drained
    assert (await task).num_failed == 0


async def test_draining_gives_up_at_its_timeout(world: World) -> None:
    world.open()
    world.backend.gate.clear()
    task = world.ask("c", TEXT)
    await asyncio.sleep(0)
    assert not await world.predictor.drain(0.01)
    world.backend.gate.set()
    await task


async def test_variants_before_and_after_opening(world: World) -> None:
    phases = [world.predictor.phase]
    for ask in (world.predictor.cards, lambda: world.predictor.served("c")):
        with pytest.raises(NotReadyError, match="loading"):
            ask()
    assert not world.predictor.serves("c")
    world.open()
    assert [*phases, world.predictor.phase] == [Phase.STARTING, Phase.READY]
    assert world.predictor.is_ready
    assert world.predictor.serves("c")
    with pytest.raises(UnknownVariantError, match="/v1/variants"):
        world.predictor.served("nobody")


async def test_a_question_keeps_the_tokenizer_of_the_weights_that_it_asks(world: World) -> None:
    """Weights are swapped while a body comes in; the new ones may bring a tokenizer of another file."""
    old, new = NotingTokenizer(), NotingTokenizer()
    world.open(old)
    before = world.question("c", TEXT)
    world.predictor.open(
        Served(card=replace(card, generation=1, tokenizer="other.json"), tokenizer=new)
        for card in world.backend.cards()
    )
    await world.predictor.answer(before, world.render)
    assert (len(old.cut_on), len(new.cut_on)) == (1, 0)
    after = world.question("c", TEXT)
    assert [before.served.card.served_as, after.served.card.served_as] == ["c", "c#1"]
    assert (before.served.tokenizer, after.served.tokenizer) == (old, new)


@pytest.mark.parametrize("phase", [Phase.BROKEN, Phase.CLOSED, Phase.DRAINING])
async def test_the_backends_own_phase_is_told(world: World, phase: Phase) -> None:
    world.open()
    world.backend.phase = phase
    assert world.predictor.phase is phase
    assert not world.predictor.is_ready


async def test_short_texts_are_cut_on_the_event_loop_and_many_inputs_by_several_threads(world: World) -> None:
    tokenizer = NotingTokenizer()
    world.open(tokenizer)
    await world.predictor.answer(replace(world.question("c", TEXT), is_short=True), world.render)
    assert tokenizer.cut_on == [threading.current_thread().name]
    many = [TextInput(text=f"a{number}") for number in range(70)]
    many[40] = TextInput(text="")
    reply = await world.ask("c", *many)
    assert all(name.startswith("encode") for name in tokenizer.cut_on[1:])
    assert tokenizer.sizes[1:] == [32, 31, 6]
    assert (reply.num_inputs, reply.num_failed) == (70, 1)
    assert isinstance(world.predictions[-1].results[40], EmptyTextError)
