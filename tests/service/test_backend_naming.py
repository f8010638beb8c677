"""A front end over several backends: a question is answered by the weights it was asked of, or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from service.backend.listener import BackendListener
from service.backend.naming import Naming
from service.domain import Phase, VariantParity
from service.errors import NotReadyError
from tests.service.backend_world import World, card, settle
from tests.service.remote_world import RemoteWorld

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from service.domain import VariantCard

OLD = card("v", digest="d1", revision="r1")
NEW = card("v", digest="d2", revision="r2")


def names(cards: tuple[VariantCard, ...]) -> list[str]:
    return [one.served_as for one in cards]


def test_what_one_backend_swaps_is_told_apart_as_it_tells_it_apart() -> None:
    naming = Naming()
    assert names(naming.told([OLD, card("w")])) == ["v", "w"]
    assert names(naming.told([replace(NEW, generation=1), card("w")])) == ["v#1", "w"]
    assert (naming.theirs("v"), naming.theirs("v#1")) == ("v", "v#1")


def test_the_same_name_of_the_next_backend_is_another_one_where_the_weights_are() -> None:
    naming = Naming()
    naming.told([OLD, card("w")])
    naming.forget_backend()
    assert naming.theirs("v") is None
    assert names(naming.told([NEW, card("w")])) == ["v#1", "w"]
    assert (naming.theirs("v"), naming.theirs("v#1"), naming.theirs("w")) == (None, "v", "w")


def test_a_backend_that_serves_what_the_last_one_did_answers_the_same_questions() -> None:
    naming = Naming()
    naming.told([OLD])
    naming.told([replace(NEW, generation=1)])
    naming.forget_backend()
    parity = VariantParity(max_error=0.1, mean_error=0, agreement=1, num_answers=1, batch_error=0)
    # Rounding and sharing may differ from one process to the next.
    assert names(naming.told([replace(NEW, parity=parity, owned_bytes=1, shared_bytes=2)])) == ["v#1"]
    assert (naming.theirs("v"), naming.theirs("v#1")) == (None, "v")
    # And when that one swaps, nothing is taken for what it was.
    assert names(naming.told([replace(OLD, generation=1)])) == ["v#2"]
    assert (naming.theirs("v#1"), naming.theirs("v#2")) == ("v", "v#1")


@pytest.mark.parametrize(
    "changed", [{"labels": ("x", "y", "z")}, {"tokenizer_digest": "t2"}, {"dtype": "int8"}, {"digest": "d3"}]
)
def test_whatever_changes_an_answer_makes_another_name(changed: dict[str, object]) -> None:
    naming = Naming()
    naming.told([OLD])
    naming.forget_backend()
    values: dict[str, object] = {"name": "v", "digest": "d1", "revision": "r1"}
    assert names(naming.told([card(**(values | changed))])) == ["v#1"]  # type: ignore[arg-type]  # a table


def test_names_of_long_ago_are_forgotten() -> None:
    naming = Naming()
    for generation in range(1000):
        naming.told([card("v", digest=str(generation), generation=generation)])
    assert len(naming._theirs) == 8
    assert naming.theirs("v#999") == "v#999"
    assert naming.theirs("v#991") is None


class TwoBackends:
    """A front end whose backend dies, and the next one, which serves a card of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.first = RemoteWorld(folder)
        self.second: World | None = None

    async def dies_and_comes_back(self, served: VariantCard) -> World:
        self.first.listener.close()
        await self.first.remote.changed()
        self.second = await World(cards=[served]).started()
        self.first.path.unlink()
        self.first.listener = BackendListener(self.second.backend)
        await self.first.listen()
        await self.first.remote.open()
        return self.second


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[TwoBackends]:
    two = TwoBackends(tmp_path)
    two.first.engine._cards = [OLD]
    await two.first.started()
    await two.first.listen()
    await two.first.remote.open()
    yield two
    two.first.remote.close()
    two.first.listener.close()
    await settle()


@pytest.mark.anyio
async def test_a_question_is_never_answered_by_other_weights_of_the_same_name(two: TwoBackends) -> None:
    """It was asked of the old card, whose revision, labels and tokenizer its answer would carry."""
    (old,) = two.first.remote.cards()
    second = await two.dies_and_comes_back(NEW)
    (new,) = two.first.remote.cards()
    assert second.backend.cards() == (NEW,)
    asked_of_old = asyncio.ensure_future(two.first.remote.submit(two.first.work([1], variant=old.served_as)))
    asked_of_new = asyncio.ensure_future(two.first.remote.submit(two.first.work([2], variant=new.served_as)))
    await settle()
    assert [batch.ids for batch in second.engine.asked] == [[[2]]]
    await second.engine.finish(second.engine.asked[0])
    with pytest.raises(NotReadyError, match="replaced while this request came in"):
        await asked_of_old
    assert (await asked_of_new).logits[0].tolist() == [2.0]


@pytest.mark.anyio
async def test_after_a_restart_with_the_same_weights_questions_go_on(two: TwoBackends) -> None:
    (old,) = two.first.remote.cards()
    second = await two.dies_and_comes_back(OLD)
    assert two.first.remote.cards() == (old,)
    answer = asyncio.ensure_future(two.first.remote.submit(two.first.work([3], variant=old.served_as)))
    await settle()
    await second.engine.finish(second.engine.asked[0])
    assert (await answer).logits[0].tolist() == [3.0]


@pytest.mark.anyio
async def test_a_backend_with_other_weights_is_ready_once_they_are_asked_for(
    two: TwoBackends,
) -> None:
    remote = two.first.remote
    remote.adopted()
    assert remote.statistics().ready
    await two.dies_and_comes_back(NEW)
    assert remote.cards()[0].digest == NEW.digest
    assert (remote.statistics().ready, remote.statistics().phase) == (False, Phase.RESTARTING)
    assert remote.statistics().alive
    remote.adopted()
    assert (remote.statistics().ready, remote.statistics().phase) == (True, Phase.READY)


@pytest.mark.anyio
async def test_a_backend_with_the_same_weights_is_ready_at_once(two: TwoBackends) -> None:
    two.first.remote.adopted()
    await two.dies_and_comes_back(OLD)
    assert two.first.remote.statistics().ready


@pytest.mark.anyio
async def test_what_was_heard_of_and_never_asked_for_makes_nobody_ready(two: TwoBackends) -> None:
    """The second backend dies before its weights were adopted, and the third one has the same."""
    two.first.remote.adopted()
    await two.dies_and_comes_back(NEW)
    await two.dies_and_comes_back(NEW)
    assert two.first.remote.cards()[0].digest == NEW.digest
    assert not two.first.remote.statistics().ready
    two.first.remote.adopted()
    assert two.first.remote.statistics().ready


@pytest.mark.anyio
async def test_a_backend_that_dies_while_it_is_adopted_vouches_for_no_other(
    two: TwoBackends,
) -> None:
    two.first.listener.close()
    await two.first.remote.changed()
    two.first.remote.adopted()
    await two.dies_and_comes_back(NEW)
    assert not two.first.remote.statistics().ready
    two.first.remote.adopted()
    assert two.first.remote.statistics().ready


@pytest.mark.anyio
async def test_a_swap_leaves_a_front_end_ready_since_old_weights_stay(
    two: TwoBackends, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.first.remote.adopted()
    changed = asyncio.ensure_future(two.first.remote.changed())
    monkeypatch.setattr(two.first.backend, "cards", lambda: (replace(NEW, generation=1),))
    two.first.listener.tell_state()
    await changed
    assert two.first.remote.cards()[0].digest == NEW.digest
    assert two.first.remote.statistics().ready
