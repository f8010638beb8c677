"""Does every interval that a report prints hold the truth as often as it says?

    python benchmarks/bench_statistics.py [--trials 2000] [--seed 1] [--only WORDS] [--at-most S] [--out FILE]
    python benchmarks/bench_statistics.py --truth

All in virtual time: no server, no clock. Each line repeats one kind of study whose truth is known and
counts how often the interval held it; ``at least`` is the share below which an interval that holds the truth
as often as it says falls once in two thousand, lowered by two points for methods that are only nearly exact.
To hold it more often is allowed, and called conservative. The last line is the mistake that the others avoid.
``--at-most S`` ends early with status 75; the next call goes on from there. ``--truth`` finds the capacities
that two of the cases are held against. Exit status 1 if a share is below.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_record import UNFINISHED, Budget, LoadRecord, markdown_table
from loadtest.analysis.calibration import Calibration, calibrate
from loadtest.analysis.calibration_cases import cases, empty_start_blocks, requests_as_units

NEARLY = 0.02
BATCH = 100
QUICK_TRIALS = 50
TRUTH_BLOCKS = 40_000
PRINTED_HEAD = ("where", "what", "method", "from", "cases")
# Every interval that is printed, and the cases that hold it at the fewest units from which it is.
PRINTED = (
    (
        "report, Markdown, `study.json`, `compare`: comparisons, by load, task, language, cell; A/A; control",
        "ratio",
        "Student's t",
        "2 pairs or restarts",
        "pairs: Student; restarts: Student",
    ),
    (
        "the same",
        "ratio",
        "studentised bootstrap",
        "8 pairs or restarts",
        "pairs: bootstrap; restarts: bootstrap",
    ),
    (
        "forest plot, thick bar",
        "ratio, 90 %",
        "the same two",
        "the same",
        "equivalence not claimed at the margin",
    ),
    ("capacity table, sweep, answer", "capacity", "a line's crossing, Fieller, HC3", "12 probes", "capacity"),
    (
        "the same",
        "capacity",
        "the steps around an abrupt fall",
        "1 probe a rate",
        "test_analysis_capacity.py: a step",
    ),
    ("comparisons", "capacity ratio", "influences, Student's t", "6 pairs of probes", "capacity ratio"),
    (
        "sweep, whiskers",
        "p95 latency, goodput of a rate",
        "Student's t of logarithms",
        "3 runs",
        "probe of a sweep; offline rate",
    ),
    ("offline table", "inputs/s, tokens/s", "Student's t of logarithms", "2 runs", "offline rate"),
    (
        "quality table",
        "difference of scores",
        "Poisson limits of gains and losses",
        "1 item",
        "accuracy, score, F1 difference",
    ),
    (
        "answer, A/A",
        "spread of a pair or restart, of p50",
        "chi-square, for about normal log ratios",
        "2 pairs or restarts",
        "A/A: spread of a pair",
    ),
    (
        "answer, tokens",
        "cost of a token",
        "HC3, Bell and McCaffrey's degrees",
        "3 languages",
        "slope on tokens",
    ),
)
REMARKS = (
    "A run's own page prints no interval: percentiles, error rates, goodput and the scores of one arm are "
    "what was seen in that run. Below the number in *from* a page prints a dash. Student's t over two to "
    "seven pairs takes log ratios for about symmetric, as those of equal arms are; were they as skewed as an "
    "exponential law, it would hold the truth 88 to 90 % of the time. A pair that is compared with its own "
    "copy has no spread, and an interval of no width: no two measurements are alike to the microsecond."
)


def main() -> int:
    """Run what was asked for and print its table; 1 if an interval is not what it says."""
    options = _options()
    if options.truth:
        _find_truth(Console())
        return 0
    trials = QUICK_TRIALS if options.quick else options.trials
    settings = {"trials": trials, "seed": options.seed, "quick": options.quick}
    record, budget = LoadRecord(options.out, settings), Budget(options.at_most)
    chosen = [case for case in (*cases(), requests_as_units()) if options.only in case.name]
    todo = [
        (case, start)
        for case in chosen
        for start in range(0, trials, BATCH)
        if not record.has(name=case.name, start=start)
    ]
    with Progress(console=Console(stderr=True)) as progress:
        for case, start in progress.track(todo, description="batches of trials"):
            if not budget.allows_another():
                break
            count = min(BATCH, trials - start)
            found = calibrate(case, num_trials=count, seed=options.seed * 100_000 + start)
            record.add({**asdict(found), "start": start})
    page(record, trials)
    if any(not record.has(name=case.name, start=start) for case, start in todo):
        return UNFINISHED
    mistake = requests_as_units().name
    return int(any(not _is_nominal(one) for one in _found(record) if one.name != mistake))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds these words")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TRIALS} trials of each case: a try")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every batch of trials; its page goes beside it")
    parser.add_argument("--truth", action="store_true", help="find the true capacities instead")
    return parser.parse_args()


def _found(record: LoadRecord) -> list[Calibration]:
    """Add the batches of each case up."""
    fields = Calibration.__dataclass_fields__
    found = []
    for case in (*cases(), requests_as_units()):
        rows = [row for row in record.rows if row["name"] == case.name]
        if rows:
            found.append(_sum([Calibration(**{name: row[name] for name in fields}) for row in rows]))
    return found


def _sum(parts: list[Calibration]) -> Calibration:
    return Calibration(
        name=parts[0].name,
        nominal=parts[0].nominal,
        num_trials=sum(part.num_trials for part in parts),
        num_held=sum(part.num_held for part in parts),
        num_without=sum(part.num_without for part in parts),
    )


def _allowed(one: Calibration) -> tuple[float, float]:
    """Return the shares that a nominal interval stays within; only the lower one is a bound."""
    n = max(1, one.num_trials - one.num_without)
    low = float(stats.binom.ppf(0.0005, n, one.nominal - NEARLY)) / n
    high = float(stats.binom.ppf(0.9995, n, min(1.0, one.nominal + NEARLY))) / n
    return low, high


def _is_nominal(one: Calibration) -> bool:
    return one.held_ratio >= _allowed(one)[0]


def _word(one: Calibration) -> str:
    if not _is_nominal(one):
        return "**not nominal**"
    return "conservative" if one.held_ratio > _allowed(one)[1] else "nominal"


def page(record: LoadRecord, trials: int) -> None:
    """Print the table, and write the page with it."""
    heads = ["case", "nominal", "trials", "held", "at least", "no interval", "verdict"]
    found = _found(record)
    lines = [
        [
            one.name,
            f"{one.nominal:.1%}",
            f"{one.num_trials:,}",
            f"{one.held_ratio:.1%}",
            f"{_allowed(one)[0]:.1%}",
            str(one.num_without),
            _word(one),
        ]
        for one in found
    ]
    mistake = requests_as_units().name
    judged = [one for one in found if one.name != mistake]
    said = (
        f"Each case is a study in virtual time whose truth is known, {trials:,} times over: how often did "
        f"the interval hold it? {sum(map(_is_nominal, judged))} of {len(judged)} cases hold it as often as "
        f"they say: not below the lower 99.9 % binomial bound of their level less {NEARLY:.0%}, since some "
        "methods are only nearly exact. To hold it more often is allowed, and called conservative where it "
        "is above the upper bound; over few items only such intervals are honest. A "
        "case called *A/A* or *silent* counts studies without a false alarm. The last line, "
        f"*{mistake}*, is the mistake that the others avoid: an interval over the requests of one run, as if "
        "they were independent."
    )
    table = markdown_table(heads, lines)
    record.write_page("Coverage of every interval", said, f"{table}\n\n{_printed()}")
    sys.stdout.write(f"{table}\n\n{said}\n")


def _printed() -> str:
    """Return the list of intervals that are printed, and what is to be known of them."""
    table = markdown_table(list(PRINTED_HEAD), [list(row) for row in PRINTED])
    return f"## Every interval that is printed\n\n{table}\n\n{REMARKS}"


def _find_truth(console: Console) -> None:
    """Find where attainment is 0.95, by a line through its log-odds within a request a second."""
    for slowdown, around in ((1.0, 85.5), (1.05, 80.5)):
        rates = around + np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
        odds = []
        with Progress(console=console) as progress:
            for rate in progress.track(rates.tolist(), description=f"services x {slowdown}"):
                rng = np.random.default_rng([1, round(rate * 10)])
                blocks = (empty_start_blocks(rate, (slowdown,), rng)[0] for _ in range(TRUTH_BLOCKS))
                odds.append(special.logit(np.mean([block.attained_ratio for block in blocks])))
        slope, level = np.polyfit(rates, odds, 1)
        console.print(f"services x {slowdown}: capacity {(math.log(19) - level) / slope:.2f}/s")


if __name__ == "__main__":
    sys.exit(main())
