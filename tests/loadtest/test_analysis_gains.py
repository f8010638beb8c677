"""The interval of a score difference: published limits, every outcome added up, and where nothing moves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.stats.rates import confint_poisson

from loadtest.analysis.gains import difference_interval, sum_limits, unit_differences
from loadtest.analysis.quality import mean_score, micro_f1


@pytest.mark.parametrize("count", [1, 2, 9, 40])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_limits_of_whole_events_are_garwood_s(count: int, level: float) -> None:
    theirs = confint_poisson(count, 1, method="exact-c", alpha=1 - level)
    assert sum_limits(count, count, level) == pytest.approx(tuple(map(float, theirs)))


def test_limits_of_events_of_unequal_sizes_by_hand() -> None:
    # Fay and Feuer with sizes 0.5, 0.5, 0.2: sum 1.2, squares 0.54; upper from sum 2.2, squares 1.54.
    low = 0.54 / (2 * 1.2) * stats.chi2.ppf(0.025, 2 * 1.2**2 / 0.54)
    high = 1.54 / (2 * 2.2) * stats.chi2.ppf(0.975, 2 * 2.2**2 / 1.54)
    assert sum_limits(1.2, 0.54, 0.95) == pytest.approx((low, high))


def test_a_difference_by_hand() -> None:
    # Nine gains of 4.115 to 17.085, one loss of 0.025 to 5.572 (tables of the Poisson law), of 100 items.
    found = difference_interval([1.0] * 9 + [-1.0] + [0.0] * 90, 0.95)
    down, up = np.hypot(9 - 4.115373, 5.571643 - 1), np.hypot(17.084803 - 9, 1 - 0.025318)
    assert (found.low, found.high) == pytest.approx(((8 - down) / 100, (8 + up) / 100), abs=1e-6)


def test_where_nothing_differs_the_interval_is_what_so_few_allow() -> None:
    # A share s of 50 goes unseen with about exp(-50 s): 0.025 at s = 0.0738.
    found = difference_interval(np.zeros(50), 0.95)
    assert (found.low, found.high) == pytest.approx((-0.0738, 0.0738), abs=1e-4)
    # Next to nothing is not surer than nothing.
    nearly = difference_interval([1e-6, *np.zeros(49)], 0.95)
    assert nearly.high >= found.high


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_one_unit_says_nothing(value: float) -> None:
    found = difference_interval([value], 0.95)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_no_unit_has_no_interval() -> None:
    with pytest.raises(ValueError, match="no units"):
        difference_interval([], 0.95)


def held(n: int, level: float) -> float:
    """Return the least exact coverage over shares of items that gain and that lose, with ``n`` items."""
    gains, losses = (side.ravel() for side in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    gains, losses = (side[gains + losses <= n] for side in (gains, losses))
    ends = [
        difference_interval(np.repeat([1.0, -1.0, 0.0], [b, w, n - b - w]), level)
        for b, w in zip(gains.tolist(), losses.tolist(), strict=True)
    ]
    low, high = np.array([(end.low, end.high) for end in ends]).T
    ways = special.gammaln(n + 1) - sum(special.gammaln(k + 1) for k in (gains, losses, n - gains - losses))
    shares = np.concatenate([[0.0, 0.002, 0.01, 0.03], np.linspace(0.06, 1, 24)])
    least = 1.0
    for gain in shares:
        for loss in shares[(shares <= gain) & (shares + gain <= 1)]:
            chances = np.exp(
                ways
                + special.xlogy(gains, gain)
                + special.xlogy(losses, loss)
                + special.xlogy(n - gains - losses, max(0.0, 1 - gain - loss))
            )
            inside = (low <= gain - loss + 1e-12) & (gain - loss <= high + 1e-12)
            least = min(least, float(chances[inside].sum()))
    return least


@pytest.mark.parametrize("level", [0.9, 0.95, 0.975])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12, 40])
def test_whatever_share_gains_or_loses_the_interval_holds_it(n: int, level: float) -> None:
    assert held(n, level) >= level


def test_units_add_up_to_the_difference() -> None:
    rng = np.random.default_rng(1)
    gold = rng.integers(1, 6, 60)
    ours, theirs = (np.column_stack([rng.binomial(gold, hit), gold, gold]) for hit in (0.8, 0.5))
    theirs[:20] = ours[:20]
    away = unit_differences(ours.astype(float), theirs.astype(float), micro_f1)
    assert away.mean() == pytest.approx(float(micro_f1(ours.sum(axis=0)) - micro_f1(theirs.sum(axis=0))))
    assert not away[:20].any(), "units that are alike add nothing"
    # A mean of values in equal units: the difference of each, exactly.
    values = rng.random((2, 9))
    mine, other = (np.column_stack([side, np.ones(9)]) for side in values)
    np.testing.assert_allclose(unit_differences(mine, other, mean_score), values[0] - values[1], atol=1e-9)


def test_many_units_get_the_interval_of_a_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    gold = rng.integers(1, 6, 3000)
    ours, theirs = (
        np.column_stack([rng.binomial(gold, hit), np.maximum(gold + rng.integers(-1, 2, 3000), 0), gold])
        for hit in (0.85, 0.75)
    )
    found = difference_interval(unit_differences(ours.astype(float), theirs.astype(float), micro_f1), 0.95)
    drawn = rng.integers(3000, size=(999, 3000))
    moved = [micro_f1(ours[index].sum(axis=0)) - micro_f1(theirs[index].sum(axis=0)) for index in drawn]
    low, high = np.quantile(moved, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.2 * (high - low))
    assert found.high == pytest.approx(high, abs=0.2 * (high - low))
    assert high - low < found.high - found.low < 1.35 * (high - low)
