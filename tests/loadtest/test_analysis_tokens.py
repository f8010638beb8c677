"""What tokens explain: known lines, statsmodels, and a language that costs more than its tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from loadtest.analysis.tokens import TokenCell, cells, fit_tokens


def cell(name: str, tokens: float, seconds: float) -> TokenCell:
    return TokenCell(name=name, tokens=tokens, seconds=seconds, n=100)


def test_a_line_is_found_and_explains_everything() -> None:
    found = fit_tokens(
        [cell(name, t, 0.004 + 0.0002 * t) for name, t in (("en", 40), ("sw", 60), ("ta", 90))]
    )
    assert found is not None
    assert found.intercept_s == pytest.approx(0.004)
    assert found.slope_s == pytest.approx(0.0002)
    assert found.r_squared == pytest.approx(1.0)
    assert found.residuals_s == pytest.approx({"en": 0.0, "sw": 0.0, "ta": 0.0}, abs=1e-12)


def test_by_hand() -> None:
    # Tokens 1, 2, 3 and seconds 1, 3, 2: slope 1/2, intercept 1, R squared 1/4.
    found = fit_tokens([cell("a", 1, 1), cell("b", 2, 3), cell("c", 3, 2)])
    assert found is not None
    assert (found.intercept_s, found.slope_s, found.r_squared) == pytest.approx((1.0, 0.5, 0.25))
    assert found.residuals_s == pytest.approx({"a": -0.5, "b": 1.0, "c": -0.5})


def test_one_far_cell_is_told_by_what_is_left_without_it() -> None:
    # The three of the test above, and a fourth far away on no line of theirs.
    near = [cell("a", 1, 1), cell("b", 2, 3), cell("c", 3, 2)]
    found = fit_tokens([*near, cell("far", 100, 100)])
    assert found is not None
    assert found.without is not None
    assert found.r_squared > 0.99
    assert found.without.name == "far"
    assert found.without.r_squared == pytest.approx(0.25)


def test_three_cells_leave_too_few_without_one() -> None:
    found = fit_tokens([cell("a", 1, 1), cell("b", 2, 3), cell("c", 3, 2)])
    assert found is not None
    assert found.without is None


def test_r_squared_is_statsmodels_and_the_slope_s_interval_hc3() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.uniform(20, 120, 30)
    seconds = 0.005 + 0.0003 * tokens + rng.normal(0, 0.002, 30) * tokens / 60
    found = fit_tokens([cell(str(i), t, s) for i, (t, s) in enumerate(zip(tokens, seconds, strict=True))])
    design = sm.add_constant(tokens)
    plain = sm.OLS(seconds, design).fit()
    robust = sm.OLS(seconds, design).fit(cov_type="HC3", use_t=True)
    assert found is not None
    assert found.r_squared == pytest.approx(plain.rsquared)
    assert found.slope_interval is not None
    half = (found.slope_interval.high - found.slope_interval.low) / 2
    assert (found.slope_interval.high - half) == pytest.approx(robust.params[1])
    # The standard error is HC3's; thirty cells are worth some twenty of them, where t is 2.09 and not 2.05.
    assert half / robust.bse[1] == pytest.approx(stats.t.ppf(0.975, 20), rel=0.03)


def test_three_cells_are_worth_one_degree_of_freedom_by_hand() -> None:
    # Residuals -1/2, 1, -1/2 at -1, 0, 1; leverages 5/6, 1/3, 5/6: error sqrt(2 (1/2 * 6 * 1/2)**2) = 2.1213.
    found = fit_tokens([cell("a", 1, 1), cell("b", 2, 3), cell("c", 3, 2)])
    assert found is not None
    assert found.slope_interval is not None
    half = stats.t.ppf(0.975, 1) * math.sqrt(4.5)
    ends = (found.slope_interval.low, found.slope_interval.high)
    assert ends == pytest.approx((0.5 - half, 0.5 + half))


def test_a_slope_that_hangs_on_one_cell_has_no_interval() -> None:
    found = fit_tokens([cell("a", 1, 1), cell("b", 1, 3), cell("c", 3, 2)])
    assert found is not None
    assert found.slope_interval is None


def test_a_language_that_costs_beyond_its_tokens_stands_out() -> None:
    points = [
        cell(name, t, 0.0002 * t) for name, t in (("en", 40), ("de", 45), ("sw", 60), ("fi", 70), ("ta", 90))
    ]
    odd = [*points, cell("th", 55, 0.0002 * 55 + 0.005)]
    found = fit_tokens(odd)
    assert found is not None
    assert max(found.residuals_s, key=lambda name: found.residuals_s[name]) == "th"
    assert found.r_squared < 0.9


def test_where_tokens_do_not_differ_nothing_is_explained() -> None:
    assert fit_tokens([cell("a", 5, 1), cell("b", 5, 2), cell("c", 5, 3)]) is None
    assert fit_tokens([cell("a", 1, 1), cell("b", 2, 2)]) is None
    flat = fit_tokens([cell("a", 1, 2), cell("b", 2, 2), cell("c", 3, 2)])
    assert flat is not None
    assert flat.slope_s == pytest.approx(0.0, abs=1e-12)
    assert flat.r_squared == 0.0


def test_cells_are_means_of_their_requests() -> None:
    found = cells(["sw", "en", "sw"], [10, 4, 20], [1.0, 0.5, 2.0])
    assert found == (
        TokenCell(name="en", tokens=4.0, seconds=0.5, n=1),
        TokenCell(name="sw", tokens=15.0, seconds=1.5, n=2),
    )
