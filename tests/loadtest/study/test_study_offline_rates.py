"""Offline rates of each arm: geometric means, with intervals that stay above 0."""

from __future__ import annotations

import math

import pytest

from loadtest.analysis.design import Block, Phase, Side
from loadtest.study.observed import Observed
from loadtest.study.offline_rates import offline_rates
from tests.loadtest.study.made_up import group, summary


def run(arm: str, inputs_per_s: float, *, valid: bool = True, phase: Phase = Phase.OFFLINE) -> Observed:
    block = Block(
        index=0,
        phase=phase,
        restart=0,
        pair=0,
        position=0,
        arm=arm,
        side=Side.ARM,
        load_ratio=None,
        segment=0,
    )
    reasons = () if valid else ("late",)
    return Observed(
        block=block,
        path="runs/x",
        rate_per_s=None,
        summary=summary(group(inputs_per_s=inputs_per_s), reasons=reasons),
    )


def test_rates_are_averaged_by_factors_and_their_interval_stays_positive() -> None:
    runs = [
        run("old", 40.0),
        run("old", 160.0),
        run("old", 5.0, valid=False),
        run("new", 9.0, phase=Phase.PAIR),
    ]
    (found,) = offline_rates(runs, ("old", "new"))
    assert (found.arm, found.num_runs) == ("old", 2)
    assert found.inputs_per_s == pytest.approx(80.0)
    assert found.tokens_per_s == pytest.approx(80.0 * 40)  # made_up gives forty tokens an input
    assert found.inputs_interval is not None
    # ln 40 and ln 160: standard error ln 2, t(1) at 97.5 % is 12.7062.
    half = math.exp(12.7062 * math.log(2))
    assert (found.inputs_interval.low, found.inputs_interval.high) == pytest.approx(
        (80 / half, 80 * half), rel=1e-3
    )


def test_a_run_without_an_answer_stays_in_the_mean_and_takes_the_interval() -> None:
    (found,) = offline_rates([run("old", 0.0), run("old", 30.0)], ("old",))
    assert found.inputs_per_s == pytest.approx(15.0)
    assert found.inputs_interval is None
