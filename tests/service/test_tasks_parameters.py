"""A request's wishes over a variant's defaults, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import Lane, Pooling, VariantCard
from service.errors import ShapeError
from service.tasks.parameters import (
    MIN_TOKENS,
    Encoding,
    Overrides,
    Parameters,
    lane_of,
    max_question_tokens,
    resolve,
)

CARD = VariantCard(
    name="en-mnli.xnli",
    head="classify",
    labels=("contradiction", "entailment", "neutral"),
    revision="1",
    lineage="en-mnli",
    lineage_tasks=("mnli",),
    lineage_languages=("en",),
    base="xlm-roberta-base",
    dtype="float32",
    synthetic=True,
    digest="0" * 64,
    num_layers=12,
    hidden_size=768,
    max_positions=512,
    tokenizer="bundled",
    default_max_tokens=512,
    default_pooling=Pooling.MEAN,
    default_layer=None,
    default_normalize=False,
    owned_bytes=0,
    shared_bytes=0,
)


def test_without_wishes_the_defaults_hold() -> None:
    assert resolve(CARD, Overrides()) == Parameters(
        truncate=True,
        max_tokens=512,
        stride=128,
        max_answer_tokens=30,
        top_k=None,
        pooling=Pooling.MEAN,
        layer=None,
        normalize=False,
        encoding=Encoding.FLOAT,
    )


def test_the_catalogues_defaults_hold_where_a_request_is_silent() -> None:
    card = replace(
        CARD, default_max_tokens=256, default_pooling=Pooling.POOLER, default_layer=7, default_normalize=True
    )
    found = resolve(card, Overrides(stride=5))
    assert (found.max_tokens, found.pooling, found.layer, found.normalize) == (256, Pooling.POOLER, 7, True)
    assert found.stride == 5


def test_wishes_win() -> None:
    wishes = Overrides(
        truncate=False,
        max_tokens=384,
        stride=64,
        max_answer_tokens=5,
        top_k=3,
        pooling=Pooling.CLS,
        layer=2,
        normalize=False,
        encoding=Encoding.BASE64,
    )
    found = resolve(replace(CARD, default_normalize=True, default_layer=7), wishes)
    assert found == Parameters(
        truncate=False,
        max_tokens=384,
        stride=64,
        max_answer_tokens=5,
        top_k=3,
        pooling=Pooling.CLS,
        layer=2,
        normalize=False,
        encoding=Encoding.BASE64,
    )


def test_the_last_layer_by_its_number_is_the_last_layer() -> None:
    assert resolve(CARD, Overrides(layer=12)).layer is None
    assert resolve(replace(CARD, default_layer=7), Overrides(layer=12)).layer is None
    assert resolve(replace(CARD, default_layer=12), Overrides()).layer is None


@pytest.mark.parametrize(
    ("head", "max_tokens", "stride"),
    [
        ("span", 384, 128),  # XTREME-R's question answering
        ("span", 512, 128),
        ("span", 197, 128),  # 129 tokens of context are the first room for 128 shared ones
        ("span", 196, 64),  # half of the room
        ("tag", 128, 63),  # XTREME-R's cap for tags leaves 126
        ("tag", 512, 128),
        ("classify", 64, 128),  # no windows: nothing to fit
    ],
)
def test_the_usual_stride_fits_the_window(head: str, max_tokens: int, stride: int) -> None:
    assert resolve(replace(CARD, head=head), Overrides(max_tokens=max_tokens)).stride == stride


@pytest.mark.parametrize(("max_tokens", "cap"), [(384, 64), (132, 64), (131, 63), (40, 18), (MIN_TOKENS, 1)])
def test_a_question_leaves_half_of_the_room(max_tokens: int, cap: int) -> None:
    assert max_question_tokens(max_tokens) == cap


@pytest.mark.parametrize(
    ("head", "wishes", "message"),
    [
        ("classify", {"max_tokens": 513}, "`max_tokens` is 513; for this variant it must be from 6 to 512"),
        ("classify", {"max_tokens": 5}, "`max_tokens` is 5; for this variant it must be from 6 to 512"),
        ("embed", {"layer": 13}, "`layer` is 13; for this variant it must be from 1 to 12"),
        ("embed", {"layer": 0}, "`layer` is 0; for this variant it must be from 1 to 12"),
        (
            "span",
            {"max_answer_tokens": 0},
            "`max_answer_tokens` is 0; for this variant it must be at least 1",
        ),
        ("span", {"top_k": 0}, "`top_k` is 0; for this variant it must be from 1 to 1000"),
        ("span", {"top_k": 1001}, "`top_k` is 1001"),
        ("span", {"stride": -1}, "`stride` is -1; for this variant it must be from 0 to 443"),
        ("span", {"stride": 444}, "`stride` is 444; for this variant it must be from 0 to 443"),
        (
            "span",
            {"max_tokens": 100, "stride": 48},
            "`stride` is 48; for this variant it must be from 0 to 47",
        ),
        (
            "tag",
            {"max_tokens": 128, "stride": 126},
            "`stride` is 126; for this variant it must be from 0 to 125",
        ),
        ("classify", {"stride": -1}, "`stride` is -1; for this variant it must be at least 0"),
    ],
)
def test_values_out_of_range_are_refused_with_the_range(
    head: str, wishes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ShapeError, match=message):
        resolve(replace(CARD, head=head), Overrides(**wishes))


@given(head=st.sampled_from(["tag", "span"]), max_tokens=st.integers(MIN_TOKENS, 512))
def test_the_usual_stride_always_leaves_a_step(head: str, max_tokens: int) -> None:
    found = resolve(replace(CARD, head=head), Overrides(max_tokens=max_tokens))
    room = max_tokens - 2 if head == "tag" else max_tokens - 4 - max_question_tokens(max_tokens)
    assert 0 <= found.stride < room


def test_a_pooler_that_the_checkpoint_lacks_is_refused() -> None:
    card = replace(CARD, head="embed", has_pooler=False)
    with pytest.raises(ShapeError, match="`pooling` is pooler, and this variant's checkpoint has no pooler"):
        resolve(card, Overrides(pooling=Pooling.POOLER))
    assert resolve(card, Overrides(pooling=Pooling.CLS)).pooling is Pooling.CLS
    assert resolve(replace(card, head="tag"), Overrides(pooling=Pooling.POOLER)).pooling is Pooling.POOLER


@pytest.mark.parametrize(
    ("head", "wishes", "lane"),
    [
        ("classify", Overrides(), Lane(variant="en-mnli.xnli")),
        ("classify", Overrides(pooling=Pooling.CLS), Lane(variant="en-mnli.xnli")),
        ("embed", Overrides(), Lane(variant="en-mnli.xnli", pooling=Pooling.MEAN)),
        ("embed", Overrides(layer=3), Lane(variant="en-mnli.xnli", layer=3, pooling=Pooling.MEAN)),
        ("embed", Overrides(layer=12), Lane(variant="en-mnli.xnli", pooling=Pooling.MEAN)),
    ],
)
def test_the_lane_holds_what_a_batch_must_share(head: str, wishes: Overrides, lane: Lane) -> None:
    card = replace(CARD, head=head)
    assert lane_of(card, resolve(card, wishes)) == lane
