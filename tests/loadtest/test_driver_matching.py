"""Arms against traces and targets: what fits, and the sentence when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loadtest.driver.errors import UsageError
from loadtest.driver.matching import index_items, match_arm
from loadtest.driver.plan import Mode, Plan, plan_from
from loadtest.trace.arm import Arm
from loadtest.trace.schedule import Trace, load_trace
from tests.loadtest.driver_world import CARD, EMBED_CARD, every, write_trace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def xnli(tmp_path: Path) -> Trace:
    return load_trace(write_trace(tmp_path / "xnli", every(0.02, 3)))


@pytest.fixture
def tatoeba(tmp_path: Path) -> Trace:
    return load_trace(write_trace(tmp_path / "tatoeba", every(0.02, 2), candidates=3, task="tatoeba"))


def arm(labels: dict[str, dict[str, str]] | None = None, **variants: str) -> Arm:
    return Arm(name="arm-a", variants=variants, labels=labels or {})


def card(**changes: Any) -> dict[str, Any]:
    return {**CARD, **changes}


def test_each_scheduled_task_finds_its_variant(xnli: Trace) -> None:
    found = match_arm(xnli, arm(xnli="v.xnli", xquad="never.asked"), [CARD, EMBED_CARD])
    assert found.variants == {"xnli": "v.xnli"}
    assert found.cards == {"v.xnli": CARD}
    assert found.layers == {}
    assert found.deviations == ()


@pytest.mark.parametrize(
    ("given", "cards", "words"),
    [
        (arm(xquad="v"), [CARD], "names no variant for it"),
        (arm(xnli="w"), [CARD], r"sends xnli to 'w'; the target serves v\.xnli"),
        (arm(xnli="w"), [], "the target serves none"),
        (
            arm(xnli="v.xnli"),
            [card(head="embed")],
            "needs a variant with head classify; 'v.xnli' has head embed",
        ),
        (arm(xnli="v.xnli"), [card(labels=["LABEL_0", "LABEL_1", "neutral"])], "LABEL_0, LABEL_1; xnli has"),
        (arm(xnli="v.xnli"), [card(labels=[])], "answers no labels"),
        (arm({"xnli": {"LABEL_9": "neutral"}}, xnli="v.xnli"), [CARD], "names LABEL_9"),
    ],
)
def test_what_does_not_fit_is_named(xnli: Trace, given: Arm, cards: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        match_arm(xnli, given, cards)


def test_labels_are_mapped_by_the_arm(xnli: Trace) -> None:
    served = card(labels=["LABEL_0", "LABEL_1", "LABEL_2"])
    table = {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}
    assert match_arm(xnli, arm({"xnli": table}, xnli="v.xnli"), [served]).deviations == ()


def test_a_label_that_can_never_be_given_is_told(xnli: Trace) -> None:
    found = match_arm(xnli, arm(xnli="v.xnli"), [card(labels=["neutral", "entailment"])])
    assert found.deviations == (
        "xnli: v.xnli has no label for contradiction, so it never gives these answers.",
    )


@pytest.mark.parametrize(("depth", "sent"), [(4, 3), (12, 7), (13, 8), (14, None), (24, None), (None, None)])
def test_a_layer_past_the_model_is_asked_for_in_proportion(
    tatoeba: Trace, depth: int | None, sent: int | None
) -> None:
    found = match_arm(tatoeba, arm(tatoeba="v.tatoeba"), [{**EMBED_CARD, "num_layers": depth}])
    assert found.layers == ({} if sent is None else {"tatoeba": {14: sent}})
    assert len(found.deviations) == (sent is not None)


def test_the_plan_sends_the_scaled_layer_and_survives_json() -> None:
    plan = Plan(
        target="http://h:1",
        arm="a",
        replicate=2,
        mode=Mode.CLOSED,
        max_inflight=3,
        timeout_s=1.5,
        variants={"tatoeba": "v"},
        layers={"tatoeba": {14: 7}},
        schedule_sha256="x",
    )
    again = plan_from(plan.as_json())
    assert again == plan
    assert again.parameters("tatoeba", {"layer": 14, "pooling": "mean"}) == {"layer": 7, "pooling": "mean"}
    assert again.parameters("tatoeba", {"layer": 3}) == {"layer": 3}
    assert again.parameters("xnli", {"layer": 14}) == {"layer": 14}
    assert again.parameters("tatoeba", {}) == {}


def test_candidates_belong_to_tasks_that_are_queried(tatoeba: Trace, xnli: Trace) -> None:
    assert [item.id for item in index_items(tatoeba, "tatoeba")] == [f"tatoeba/en/c{i}" for i in range(3)]
    assert index_items(xnli, "xnli") == []
