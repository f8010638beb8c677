"""Does every interval that a report prints hold the truth as often as it says?

    python benchmarks/bench_statistics.py [--trials 2000] [--seed 1] [--only WORDS] [--at-most S] [--out FILE]
    python benchmarks/bench_statistics.py --truth

All in virtual time: no server, no clock. Each line repeats one kind of study whose truth is known and
counts how often the interval held it; ``allowed`` is what a nominal interval's share would be within,
99.9 % of the time, widened by two points for methods that are only nearly exact. The last line is the
mistake that the others avoid. ``--at-most S`` ends early with status 75; the next call goes on from there.
``--truth`` finds the capacities that two of the cases are held against. Exit status 1 if a share is outside.
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
    n = one.num_trials - one.num_without
    low = float(stats.binom.ppf(0.0005, n, one.nominal - NEARLY)) / n
    high = float(stats.binom.ppf(0.9995, n, min(1.0, one.nominal + NEARLY))) / n
    return low, high


def _is_nominal(one: Calibration) -> bool:
    low, high = _allowed(one)
    return low <= one.held_ratio <= high


def page(record: LoadRecord, trials: int) -> None:
    """Print the table, and write the page with it."""
    heads = ["case", "nominal", "trials", "held", "allowed", "no interval", "verdict"]
    found = _found(record)
    lines = [
        [
            one.name,
            f"{one.nominal:.1%}",
            f"{one.num_trials:,}",
            f"{one.held_ratio:.1%}",
            "{:.1%} to {:.1%}".format(*_allowed(one)),
            str(one.num_without),
            "nominal" if _is_nominal(one) else "**not nominal**",
        ]
        for one in found
    ]
    mistake = requests_as_units().name
    judged = [one for one in found if one.name != mistake]
    said = (
        f"Each case is a study in virtual time whose truth is known, {trials:,} times over: how often did "
        f"the interval hold it? {sum(map(_is_nominal, judged))} of {len(judged)} cases are nominal: "
        f"within 99.9 % binomial bounds, widened by {NEARLY:.0%} for methods that are only nearly exact. A "
        "case called *A/A* or *silent* counts studies without a false alarm. The last line, "
        f"*{mistake}*, is the mistake that the others avoid: an interval over the requests of one run, as if "
        "they were independent."
    )
    table = markdown_table(heads, lines)
    record.write_page("Coverage of every interval", said, table)
    sys.stdout.write(f"{table}\n\n{said}\n")


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
