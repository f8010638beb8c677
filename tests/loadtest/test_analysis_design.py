"""A plan: pairs side by side, balanced orders, restarts around them, controls first."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.design import Block, Design, Phase, Side, plan

if TYPE_CHECKING:
    from collections.abc import Iterable

designs = st.builds(
    Design,
    reference=st.just("en"),
    arms=st.sampled_from([("multi",), ("multi", "third")]),
    num_pairs=st.integers(1, 12),
    num_restarts=st.integers(1, 12),
    load_ratios=st.sampled_from([(0.6,), (0.3, 0.6, 0.8)]),
    num_aa_pairs=st.integers(0, 5),
    control=st.sampled_from([None, "slow"]),
    num_control_pairs=st.integers(0, 4),
    num_offline_pairs=st.integers(0, 4),
)


def runs(blocks: Iterable[Block]) -> dict[tuple[Phase, int, float | None], list[Block]]:
    found = defaultdict(list)
    for block in blocks:
        found[block.phase, block.pair, block.load_ratio].append(block)
    return found


@given(design=designs, seed=st.integers(0, 1000))
def test_every_pair_is_whole_adjacent_and_on_one_segment(design: Design, seed: int) -> None:
    blocks = plan(design, np.random.default_rng(seed))
    assert [block.index for block in blocks] == list(range(len(blocks)))
    for (phase, _, _), pair in runs(blocks).items():
        assert [b.position for b in pair] == list(range(len(pair)))
        assert pair[-1].index - pair[0].index == len(pair) - 1
        assert len({(b.segment, b.restart) for b in pair}) == 1
        sides = Counter(b.side for b in pair)
        assert sides[Side.REFERENCE] == 1
        assert (
            all((b.arm == design.reference) == (b.side is Side.REFERENCE) for b in pair) or phase is Phase.AA
        )
    segments = [pair[0].segment for pair in runs(blocks).values()]
    assert len(set(segments)) == len(segments)


@given(design=designs, seed=st.integers(0, 1000))
def test_what_was_declared_is_what_is_planned(design: Design, seed: int) -> None:
    blocks = plan(design, np.random.default_rng(seed))
    pairs = Counter((phase, load) for phase, _, load in runs(blocks))
    expected: dict[tuple[Phase, float | None], int] = {
        (Phase.PAIR, load): design.num_pairs for load in design.load_ratios
    }
    if design.num_aa_pairs:
        expected[Phase.AA, 0.6] = design.num_aa_pairs
    if design.control and design.num_control_pairs:
        expected[Phase.CONTROL, 0.6] = design.num_control_pairs
    if design.num_offline_pairs:
        expected[Phase.OFFLINE, None] = design.num_offline_pairs
    assert dict(pairs) == expected
    order = [phase for phase, _ in groupby(block.phase for block in blocks)]
    assert order == sorted(order, key=[Phase.AA, Phase.CONTROL, Phase.PAIR, Phase.OFFLINE].index)


@given(design=designs, seed=st.integers(0, 1000))
def test_restarts_only_go_up_and_share_the_pairs_evenly(design: Design, seed: int) -> None:
    blocks = plan(design, np.random.default_rng(seed))
    restarts = [block.restart for block in blocks]
    assert restarts == sorted(restarts)
    assert set(restarts) == set(range(max(restarts) + 1))
    for phase in {block.phase for block in blocks}:
        pairs = {(b.restart, b.pair) for b in blocks if b.phase is phase}
        counts = Counter(restart for restart, _ in pairs).values()
        assert max(counts) - min(counts) <= 1
        assert len(counts) == min(design.num_restarts, len(pairs))


def test_orders_are_balanced_and_random() -> None:
    design = Design(reference="a", arms=("b",), num_pairs=40, num_restarts=4, load_ratios=(0.3, 0.6))
    for load in design.load_ratios:
        firsts = [
            "".join(b.arm for b in pair)
            for (_, _, at), pair in runs(plan(design, np.random.default_rng(1))).items()
            if at == load
        ]
        assert Counter(firsts) == {"ab": 20, "ba": 20}
        changes = sum(x != y for x, y in pairwise(firsts))
        assert 8 < changes < 38


def test_with_three_arms_each_has_each_place_once_in_three_pairs() -> None:
    design = Design(reference="a", arms=("b", "c"), num_pairs=9, num_restarts=1, load_ratios=(0.6,))
    places = Counter((b.arm, b.position) for b in plan(design, np.random.default_rng(0)))
    assert set(places.values()) == {3}
    assert len(places) == 9


def test_a_seed_is_a_plan() -> None:
    design = Design(reference="a", arms=("b",), num_pairs=6, num_restarts=2)
    assert plan(design, np.random.default_rng(5)) == plan(design, np.random.default_rng(5))
    assert plan(design, np.random.default_rng(5)) != plan(design, np.random.default_rng(6))


@pytest.mark.parametrize(
    "wrong", [{"arms": ()}, {"arms": ("a",)}, {"arms": ("b", "b")}, {"num_pairs": 0}, {"num_restarts": 0}]
)
def test_a_design_without_a_comparison_is_refused(wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"reference": "a", "arms": ("b",), "num_pairs": 2, "num_restarts": 1}
    with pytest.raises(ValueError, match=r"must be there|at least one"):
        Design(**(good | wrong))  # type: ignore[arg-type]  # a table of wrong values
