"""Does every interval that a report prints hold the truth as often as it says?

    python benchmarks/bench_statistics.py [--trials 2000] [--seed 1] [--only WORDS] [--out FILE]
    python benchmarks/bench_statistics.py --truth

All in virtual time: no server, no clock. Each line repeats one kind of study whose truth is known and
counts how often the interval held it; ``allowed`` is what a nominal interval's share would be within,
99.9 % of the time, widened by two points for methods that are only nearly exact. The last line is the
mistake that the others avoid. ``--truth`` finds the capacities that two of the cases are held against.
Exit status 1 if a share is outside.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy import special, stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest.analysis.calibration import Calibration, calibrate
from loadtest.analysis.calibration_cases import cases, empty_start_blocks, requests_as_units

NEARLY = 0.02
BATCH = 50
TABLE_WIDTH = 110
TRUTH_BLOCKS = 40_000


def main() -> None:
    """Run what was asked for, print its table, and exit 1 if an interval is not what it says."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    if options.truth:
        _find_truth(console)
        return
    chosen = [case for case in (*cases(), requests_as_units()) if options.only in case.name]
    found: list[Calibration] = []
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("trials", total=len(chosen) * options.trials)
        for case in chosen:
            parts = []
            for start in range(0, options.trials, BATCH):
                count = min(BATCH, options.trials - start)
                parts.append(calibrate(case, num_trials=count, seed=options.seed * 100_000 + start))
                progress.advance(bar, count)
            found.append(_sum(parts))
    console.print(_table(found))
    if options.out:
        options.out.write_text(json.dumps([asdict(one) for one in found], indent=1), encoding="utf-8")
    mistake = requests_as_units().name
    sys.exit(any(not _is_nominal(one) for one in found if one.name != mistake))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=2000, help="of each case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose name holds these words")
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    parser.add_argument("--truth", action="store_true", help="find the true capacities instead")
    return parser.parse_args()


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


def _table(found: list[Calibration]) -> Table:
    table = Table(title="Share of trials whose interval held the truth")
    for column in ("case", "nominal", "held", "allowed", "no interval", ""):
        table.add_column(column, justify="left" if column == "case" else "right")
    for one in found:
        low, high = _allowed(one)
        table.add_row(
            one.name,
            f"{one.nominal:.1%}",
            f"{one.held_ratio:.1%}",
            f"{low:.1%} to {high:.1%}",
            str(one.num_without),
            "" if _is_nominal(one) else "NOT NOMINAL",
        )
    return table


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
    main()
