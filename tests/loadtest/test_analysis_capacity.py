"""Capacity: the search as a state machine, the fit against statsmodels, the answer against M/M/1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special, stats

from loadtest.analysis.capacity import MIN_INTERVAL_BLOCKS, Block, Method, capacity, capacity_ratio
from loadtest.analysis.capacity_search import Found, Lost, Plan, Probe, Search, Stage, Step, sweep_order
from loadtest.analysis.equivalence import Margins, pairs_needed
from loadtest.analysis.power import units_to_find
from loadtest.analysis.queueing import MM1, simulate

if TYPE_CHECKING:
    from collections.abc import Callable

SERVED_PER_S = 100.0
LIMIT_S = 0.2
TARGET = 0.95
BLOCK_S = 20.0


def served(rate: float, rng: np.random.Generator, slowdowns: tuple[float, ...] = (1.0,)) -> list[Block]:
    """Return one block an arm: Poisson arrivals and exponential services, shared but for the speed."""
    n = int(rng.poisson(rate * BLOCK_S))
    arrivals = np.sort((rng.random(n) * BLOCK_S * 1e6).astype(np.int64))
    service = rng.exponential(1e6 / SERVED_PER_S, n)
    blocks = []
    for slowdown in slowdowns:
        done = simulate(arrivals, (service * slowdown).astype(np.int64))
        in_time = int(np.count_nonzero(done - arrivals < LIMIT_S * 1e6))
        blocks.append(Block(rate_per_s=rate, num_requests=n, num_in_time=in_time))
    return blocks


def seen(answer: Callable[[float], float], rate_per_s: float) -> Block:
    return Block(rate_per_s=rate_per_s, num_requests=10_000, num_in_time=round(answer(rate_per_s) * 10_000))


def searched(answer: Callable[[float], float], plan: Plan) -> tuple[Step, list[Probe]]:
    search, probes = Search(plan=plan), []
    while isinstance(step := search.next_step(), Probe):
        probes.append(step)
        search = search.observe(seen(answer, step.rate_per_s))
        assert len(probes) < 500
    return step, probes


def falling(crossing: float) -> Callable[[float], float]:
    """Return attainment of exactly the target at a rate, its log-odds falling in a straight line."""
    return lambda rate: float(special.expit(special.logit(TARGET) + (crossing - rate) / crossing * 20))


@given(crossing=st.floats(2.0, 5000.0), start=st.floats(1.0, 1000.0), blocks=st.integers(1, 3))
def test_a_search_brackets_the_crossing_as_closely_as_it_was_told(
    crossing: float, start: float, blocks: int
) -> None:
    plan = Plan(start_per_s=start, target=TARGET, num_blocks=blocks, precision_ratio=1.05)
    found, probes = searched(falling(crossing), plan)
    assert isinstance(found, Found)
    assert found.met_per_s <= crossing * 1.001
    assert found.missed_per_s >= crossing * 0.999
    assert found.missed_per_s / found.met_per_s <= 1.05
    stages = [probe.stage for probe in probes]
    assert stages == sorted(stages, key=[Stage.BRACKET, Stage.BISECT].index)
    order = sweep_order(plan, np.random.default_rng(0))
    fitted = capacity([seen(falling(crossing), found.middle_per_s * ratio) for ratio in order], target=TARGET)
    assert fitted.method is Method.LOGISTIC
    assert fitted.rate_per_s == pytest.approx(crossing, rel=2e-3)
    ends = fitted.interval
    assert ends is not None
    assert not ends.excludes(crossing) or ends.high - ends.low < 2e-3 * crossing


def test_the_steps_of_a_search_by_hand() -> None:
    plan = Plan(start_per_s=10, target=TARGET, num_blocks=1, precision_ratio=1.5)
    found, probes = searched(falling(33.0), plan)
    assert [probe.rate_per_s for probe in probes] == pytest.approx([10, 20, 40, math.sqrt(800)])
    assert isinstance(found, Found)
    assert (found.met_per_s, found.missed_per_s) == pytest.approx((math.sqrt(800), 40))
    assert found.middle_per_s == pytest.approx(math.sqrt(math.sqrt(800) * 40))


def test_a_sweep_probes_every_rate_as_often_as_it_was_told_in_random_order() -> None:
    plan = Plan(start_per_s=10, target=TARGET, sweep_ratios=(0.9, 1.0, 1.1), num_sweep_blocks=4)
    orders = {sweep_order(plan, np.random.default_rng(seed)) for seed in range(20)}
    assert len(orders) == 20
    assert {tuple(sorted(order)) for order in orders} == {(0.9,) * 4 + (1.0,) * 4 + (1.1,) * 4}


@pytest.mark.parametrize(
    ("crossing", "rates"),
    [
        (33.0, [32, 36]),  # an equal arm: the two rates of the bracket
        (25.0, [32, 32 / 1.125, 32 / 1.125**3]),
        (60.0, [32, 36, 36 * 1.125**2, 36 * 1.125**6, math.sqrt(36 * 1.125**2 * 36 * 1.125**6)]),
    ],
)
def test_a_search_beside_a_known_bracket_takes_few_steps(crossing: float, rates: list[float]) -> None:
    plan = Plan(start_per_s=1, target=TARGET, num_blocks=1, precision_ratio=1.3)
    beside = plan.after(Found(met_per_s=32.0, missed_per_s=36.0))
    found, probes = searched(falling(crossing), beside)
    assert [probe.rate_per_s for probe in probes] == pytest.approx(rates)
    assert isinstance(found, Found)
    assert found.met_per_s <= crossing <= found.missed_per_s


def test_steps_beside_a_known_bracket_grow_no_further_than_doubling() -> None:
    plan = Plan(start_per_s=1, target=TARGET).after(Found(met_per_s=10.0, missed_per_s=11.0))
    assert [plan.step(n) for n in (1, 2, 3, 4, 9)] == pytest.approx([1.1, 1.21, 1.1**4, 2.0, 2.0])
    assert Plan(start_per_s=1, target=TARGET, factor=3.0).step(5) == 3.0


def test_a_search_goes_down_when_the_start_is_too_much() -> None:
    plan = Plan(start_per_s=100, target=TARGET, num_blocks=1, precision_ratio=1.5)
    _, probes = searched(falling(33.0), plan)
    assert [p.rate_per_s for p in probes if p.stage is Stage.BRACKET] == pytest.approx([100, 50, 25])


@pytest.mark.parametrize(
    ("answer", "says", "last_per_s"),
    [(1.0, "met at every", 10.0 * 2**13), (0.0, "missed at every", 10.0 / 2**7)],
)
def test_a_search_gives_up_at_its_bounds(answer: float, says: str, last_per_s: float) -> None:
    found, probes = searched(lambda _: answer, Plan(start_per_s=10, target=TARGET, num_blocks=1))
    assert isinstance(found, Lost)
    assert says in found.reason
    assert probes[-1].rate_per_s == last_per_s


def test_a_rate_meets_the_objective_by_the_mean_of_its_blocks() -> None:
    plan = Plan(start_per_s=10, target=0.9, num_blocks=3)
    search = Search(plan=plan)
    for in_time in (100, 80, 91):
        step = search.next_step()
        assert isinstance(step, Probe)
        assert step.rate_per_s == 10
        search = search.observe(Block(rate_per_s=10, num_requests=100, num_in_time=in_time))
    step = search.next_step()
    assert isinstance(step, Probe)
    assert step.rate_per_s == 20


def test_a_search_refuses_what_it_did_not_ask_for() -> None:
    search = Search(plan=Plan(start_per_s=10, target=TARGET))
    with pytest.raises(ValueError, match="not asked for"):
        search.observe(Block(rate_per_s=11, num_requests=1, num_in_time=1))


@pytest.mark.parametrize(
    "wrong",
    [{"start_per_s": 1e9}, {"factor": 1.0}, {"target": 1.0}, {"precision_ratio": 1.0}, {"num_blocks": 0}],
)
def test_a_plan_that_cannot_search_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="search"):
        Plan(**({"start_per_s": 10.0, "target": TARGET} | wrong))  # type: ignore[arg-type]  # a table of wrong values


def blocks_of(rates: list[float], attained: list[float]) -> list[Block]:
    return [
        Block(rate_per_s=rate, num_requests=1000, num_in_time=round(share * 1000))
        for rate, share in zip(rates, attained, strict=True)
    ]


def test_the_crossing_is_statsmodels_(rng: np.random.Generator) -> None:
    rates = np.repeat([70.0, 80.0, 90.0, 100.0], 3)
    attained = np.clip(special.expit((90 - rates) / 6) + rng.normal(0, 0.02, rates.size), 0, 1)
    blocks = blocks_of(rates.tolist(), attained.tolist())
    exact = np.array([block.attained_ratio for block in blocks])
    line = sm.GLM(exact, sm.add_constant(rates), family=sm.families.Binomial()).fit()
    expected = (special.logit(0.8) - line.params[0]) / line.params[1]
    found = capacity(blocks, target=0.8)
    assert found.rate_per_s == pytest.approx(expected)
    # Fieller's ends are where the line's distance from the target is t standard errors (HC3: residuals
    # divided by one less leverage). statsmodels knows HC0; its meat is rebuilt here from its own parts.
    residuals = (exact - line.fittedvalues) / (1 - line.get_hat_matrix_diag())
    design = sm.add_constant(rates)
    covariance = line.cov_params() @ (design.T * residuals**2 @ design) @ line.cov_params()

    def distance(rate: float) -> float:
        at = np.array([1.0, rate])
        return float(abs(at @ line.params - special.logit(0.8)) / math.sqrt(at @ covariance @ at))

    assert found.interval is not None
    t = 2.2281388519649385  # Student's, 0.975, 10 degrees
    assert distance(found.interval.low) == pytest.approx(t, rel=1e-6)
    assert distance(found.interval.high) == pytest.approx(t, rel=1e-6)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(42)


def test_an_abrupt_fall_is_a_bracket() -> None:
    found = capacity(blocks_of([10, 20, 30, 40], [1.0, 1.0, 0.0, 0.0]), target=TARGET)
    assert found.method is Method.BRACKET
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (10, 40)
    assert found.rate_per_s == pytest.approx(20.5)
    edge = capacity(blocks_of([10, 20, 30, 40], [1.0, 0.0, 0.0, 0.0]), target=TARGET)
    assert (edge.method, edge.interval) == (Method.BRACKET, None)


@pytest.mark.parametrize("left", [0.0, 0.02, 0.4])
@pytest.mark.parametrize("varies_by", [0.0, 0.03])
def test_no_line_is_laid_through_a_step(left: float, varies_by: float, rng: np.random.Generator) -> None:
    # A server that drops what it cannot do, its limit another in each run: at the capacity 5 % of runs fall
    # short (a little more, where a run over its limit still answers some).
    truth = 100 * math.exp(varies_by * float(special.ndtri(0.05 / (1 - left))))
    held = []
    for _ in range(40):
        rates = np.repeat([80.0, 88.0, 96.0, 104.0, 112.0, 120.0], 3)
        holds = rates < 100 * np.exp(varies_by * rng.standard_normal(18))
        found = capacity(blocks_of(rates.tolist(), np.where(holds, 1.0, left).tolist()), target=TARGET)
        if found.interval is not None:
            held.append(not found.interval.excludes(truth if varies_by else 100))
        assert varies_by or found.method is Method.BRACKET
    assert len(held) >= 30
    assert sum(held) >= stats.binom.ppf(0.0005, len(held), 0.93)
    step = blocks_of([80, 88, 96, 104, 112, 120] * 2, [1.0, 1.0, 1.0, left, left, left] * 2)
    ratio = capacity_ratio(step, step, target=TARGET)
    assert (ratio.log_ratio, ratio.interval) == (None, None)


def test_few_blocks_have_a_capacity_and_no_interval() -> None:
    attained = [0.999, 0.99, 0.97, 0.92, 0.85, 0.7]
    rates = [80.0, 88.0, 96.0, 104.0, 112.0, 120.0]
    few = capacity(blocks_of(rates, attained), target=TARGET)
    enough = capacity(blocks_of(rates * 2, attained * 2), target=TARGET)
    assert few.rate_per_s == pytest.approx(enough.rate_per_s)
    assert len(attained) * 2 == MIN_INTERVAL_BLOCKS
    assert (few.interval is None, enough.interval is None) == (True, False)


def test_a_crossing_outside_the_probes_is_not_extrapolated() -> None:
    high = capacity(blocks_of([10, 20, 30, 40], [1.0, 1.0, 0.99, 0.97]), target=TARGET)
    assert (high.method, high.rate_per_s, high.interval) == (Method.ABOVE, None, None)
    low = capacity(blocks_of([10, 20, 30, 40], [0.9, 0.8, 0.5, 0.1]), target=TARGET)
    assert (low.method, low.rate_per_s, low.interval) == (Method.BELOW, None, None)


@pytest.mark.parametrize("rates", [[10.0, 20.0, 30.0], [10.0] * 6])
def test_too_little_to_fit_is_refused(rates: list[float]) -> None:
    with pytest.raises(ValueError, match="no sweep"):
        capacity(blocks_of(rates, [0.9] * len(rates)), target=TARGET)


def test_capacity_of_mm1_is_near_its_closed_form(rng: np.random.Generator) -> None:
    # In steady state exactly 95 % are in time at 100 - ln(20) / 0.2 = 85.02 a second; blocks that start
    # empty do a little better.
    steady = SERVED_PER_S - math.log(20) / LIMIT_S
    assert MM1(arrivals_per_s=steady, served_per_s=SERVED_PER_S).sojourn_cdf(LIMIT_S) == pytest.approx(TARGET)
    rates = [steady * ratio for ratio in (0.85, 0.9, 0.95, 1.0, 1.05, 1.1)] * 40
    found = capacity([served(rate, rng)[0] for rate in rates], target=TARGET)
    assert found.rate_per_s == pytest.approx(steady, rel=0.02)
    assert found.interval is not None
    assert found.interval.high / found.interval.low < 1.05


def test_a_capacity_ratio_cancels_what_arms_share(rng: np.random.Generator) -> None:
    rates = np.repeat([68.0, 73.0, 78.0, 83.0, 88.0, 93.0], 6)
    pairs = [served(float(rate), rng, (1.0, 1.05)) for rate in rates]
    reference, arm = ([pair[k] for pair in pairs] for k in (0, 1))
    found = capacity_ratio(arm, reference, target=TARGET)
    assert found.log_ratio is not None
    assert found.interval is not None
    assert found.interval.high < 0 < -found.log_ratio < 0.15
    ours, theirs = (capacity(blocks, target=TARGET) for blocks in (arm, reference))
    assert found.log_ratio == pytest.approx(math.log((ours.rate_per_s or 0) / (theirs.rate_per_s or 1)))
    # The same blocks, each beside another's arrivals, say far less.
    apart = capacity_ratio(arm, [reference[i // 6 * 6 + (i + 1) % 6] for i in range(36)], target=TARGET)
    assert apart.interval is not None
    assert found.interval.high - found.interval.low < 0.8 * (apart.interval.high - apart.interval.low)
    # Four times the pairs halve an interval: its spread says how many would settle it.
    margins = Margins.symmetric(0.01)
    assert found.sd is not None
    assert found.sd / 6 * 1.96 == pytest.approx((found.interval.high - found.interval.low) / 2, rel=0.15)
    needed = pairs_needed(-0.03, sd=found.sd, margins=margins)
    assert needed == units_to_find(sd=found.sd, effect=0.03)
    same = capacity_ratio(reference, reference, target=TARGET)
    assert (same.log_ratio, same.interval and same.interval.high) == (0.0, 0.0)


def test_a_ratio_needs_rates_that_pair_up_and_two_crossings() -> None:
    good = blocks_of([10, 20, 30, 40], [0.99, 0.97, 0.8, 0.4])
    for rates in ([10.0, 20, 30, 41], [20.0, 10, 30, 40], [10.0, 20, 30, 40, 50]):
        with pytest.raises(ValueError, match="do not pair up"):
            capacity_ratio(good, blocks_of(rates, [0.99, 0.97, 0.8, 0.4, 0.1][: len(rates)]), target=TARGET)
    half = capacity_ratio(blocks_of([5, 10, 15, 20] * 2, [0.99, 0.97, 0.8, 0.4] * 2), good * 2, target=TARGET)
    few = capacity_ratio(good, good, target=TARGET)
    assert (few.log_ratio, few.interval, few.sd) == (0.0, None, None)
    assert half.log_ratio == pytest.approx(math.log(0.5))
    assert half.interval is not None
    assert half.interval.high - half.interval.low < 1e-9, "what a pair shares cancels"
    never = blocks_of([10, 20, 30, 40], [1.0, 1.0, 1.0, 0.99])
    assert capacity_ratio(never, good, target=TARGET).log_ratio is None


def test_without_noise_the_crossing_is_where_attainment_is_the_target() -> None:
    # Many requests, no noise: the line and the steps must agree on where it falls.
    rates = np.linspace(80, 100, 21)
    attained = special.expit(special.logit(TARGET) + (90.3 - rates) / 2)
    found = capacity(blocks_of(rates.tolist(), attained.tolist()), target=TARGET)
    root = optimize.brentq(lambda r: float(np.interp(r, rates, attained)) - TARGET, 80, 100)
    assert found.rate_per_s == pytest.approx(root, rel=2e-3)
