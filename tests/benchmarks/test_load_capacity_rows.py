"""What a page says of capacities beside their closed form, on attainments without noise."""

from __future__ import annotations

import pytest
from scipy import special

from benchmarks.load_capacity_rows import Finding, closed_capacity_per_s, findings, table_of
from loadtest.analysis.capacity import Block
from loadtest.analysis.queueing import MD1

SERVICE_S = {"fast": 0.004, "again": 0.004, "slow": 0.005}
LIMIT_S, SHARE = 0.025, 0.95


def blocks(crossing_per_s: float) -> list[Block]:
    """Return blocks whose log-odds fall in a line through the share at a rate, with a wobble."""
    found = []
    for i, ratio in enumerate((0.8, 0.88, 0.96, 1.04, 1.12, 1.2) * 3):
        odds = special.logit(SHARE) + 12 * (1 - ratio) + 0.2 * (-1) ** (i // 6)
        in_time = round(float(special.expit(odds)) * 10_000)
        found.append(
            Block(rate_per_s=crossing_per_s * ratio, num_requests=10_000, num_in_time=in_time),
        )
    return found


def test_the_closed_capacity_is_where_the_share_is_in_time() -> None:
    rate = closed_capacity_per_s(0.004, LIMIT_S, SHARE)
    assert MD1(arrivals_per_s=rate, service_s=0.004).sojourn_cdf(LIMIT_S) == pytest.approx(SHARE)


def test_what_holds_what_does_not_and_what_is_too_wide() -> None:
    exact = {arm: closed_capacity_per_s(own, LIMIT_S, SHARE) for arm, own in SERVICE_S.items()}
    good = findings({arm: blocks(at) for arm, at in exact.items()}, SERVICE_S, LIMIT_S, SHARE, 0.0006)
    assert [one.word for one in good] == ["holds"] * 5
    assert good[4].value == pytest.approx(exact["slow"] / exact["fast"], rel=1e-3)
    assert good[4].excludes == 1.0
    assert good[3].excludes is None
    slower = {arm: blocks(at * (0.7 if arm == "fast" else 1.0)) for arm, at in exact.items()}
    words = [one.word for one in findings(slower, SERVICE_S, LIMIT_S, SHARE, 0.0006)]
    assert words == ["DOES NOT HOLD", "holds", "holds", "DOES NOT HOLD", "DOES NOT HOLD"]
    wide = Finding(name="x", value=0.8, low=0.5, high=1.2, closed=(0.74, 0.73), excludes=1.0, num_blocks=18)
    assert wide.word == "too wide: holds 1"
    assert "DOES NOT HOLD" not in table_of([wide])


def test_a_sweep_that_misses_the_crossing_has_no_interval() -> None:
    exact = closed_capacity_per_s(0.004, LIMIT_S, SHARE)
    found = findings(
        {arm: blocks(exact if arm == "slow" else 2 * exact)[:12] for arm in SERVICE_S},
        SERVICE_S,
        LIMIT_S,
        0.9999,
        0.0006,
    )
    assert {one.word for one in found} == {"no interval"}
    assert "none to none" in table_of(found)
