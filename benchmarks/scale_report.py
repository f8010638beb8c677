"""Measurements of growth into tables and a verdict; pure.

Rules: a figure is the median over repeats, with the smallest and largest where it is a ratio; ratios are
taken within a repeat; a goal that is missed is said to be missed.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import QUIET_RATIO, Spread, markdown, ratio, reasons
from loadtest.analysis.percentiles import exact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GOAL_RATIO, GOAL_VARIANTS = 0.85, 10
PERCENTILES = (0.5, 0.95, 0.99)
TITLES = {
    "load": "Offered load",
    "variants": "Number of variants",
    "length": "Length of the texts",
    "workers": "HTTP processes, mini model",
}
# What tells the lines of a part apart.
KEYS = {
    "load": ("share",),
    "variants": ("variants",),
    "length": ("length", "at_once"),
    "workers": ("workers",),
}
_NAMES = {
    "share": "offered / closed loop",
    "variants": "variants",
    "length": "tokens",
    "at_once": "at once",
    "workers": "processes",
}


def series(cells: Sequence[Mapping[str, Any]], **wanted: Any) -> list[Mapping[str, Any]]:
    """Return the repeats of one line, in their order."""
    mine = [cell for cell in cells if all(cell.get(key) == value for key, value in wanted.items())]
    return sorted(mine, key=lambda cell: cell["repeat"])


def lines_of(part: str, cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the medians of each line of a part, in order."""
    keys = KEYS[part]
    repeated = [cell for cell in cells if cell.get("repeat") is not None]
    names = sorted({tuple(cell[key] for key in keys) for cell in repeated})
    lines = []
    for name in names:
        line = dict(zip(keys, name, strict=True))
        mine = series(repeated, **line)
        latencies_ms = [latency for cell in mine for latency in cell["latencies_ms"]]
        line |= {field: median(cell[field] for cell in mine) for field in ("per_s", "cpu_us")}
        line |= {f"p{round(100 * p)}_ms": exact(latencies_ms, p) for p in PERCENTILES}
        lines.append(line)
    return lines


def _or_blank(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def over_first(part: str, cells: Sequence[Mapping[str, Any]], **wanted: Any) -> Spread:
    """Return a line's throughput over that of the part's first one."""
    key = KEYS[part][0]
    least = min(cell[key] for cell in cells)
    one, other = (series(cells, **{key: place}) for place in (wanted[key], least))
    return ratio([cell["per_s"] for cell in one], [cell["per_s"] for cell in other])


def tables_of(parts: Mapping[str, Any]) -> dict[str, str]:
    """Return every table by its title."""
    found = {}
    for part, title in TITLES.items():
        if part not in parts:
            continue
        cells = parts[part]["cells"]
        compared = part in {"variants", "workers"}
        head = [*(_NAMES[key] for key in KEYS[part]), "requests/s", "CPU a request, ms"]
        head += [f"p{round(100 * p)}, ms" for p in PERCENTILES]
        body = []
        for line in lines_of(part, cells):
            texts = [str(line[key]) for key in KEYS[part]]
            texts += [f"{line['per_s']:.1f}", f"{line['cpu_us'] / 1e3:.2f}"]
            texts += [_or_blank(line[f"p{round(100 * p)}_ms"]) for p in PERCENTILES]
            body.append([*texts, str(over_first(part, cells, **line))] if compared else texts)
        found[title] = markdown([[*head, "over one"] if compared else head, *body])
    return found


def verdicts(parts: Mapping[str, Any]) -> list[str]:
    """Say whether the goal is met."""
    goal = f"throughput over {GOAL_VARIANTS} variants >= {GOAL_RATIO:.0%} of that of one at equal load"
    if "variants" not in parts:
        return [f"{goal}: not measured"]
    found = over_first("variants", parts["variants"]["cells"], variants=GOAL_VARIANTS)
    return [f"{goal}: {'met' if found.middle >= GOAL_RATIO else 'MISSED'} ({found})"]


def _crowds(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in how many measurements other processes had more of the cores than they should."""
    shares = [cell["others_ratio"] for cell in cells if "others_ratio" in cell]
    crowded = [share for share in shares if share > QUIET_RATIO]
    if not crowded:
        return []
    said = (
        f"**Not quiet: in {len(crowded)} of {len(shares)} measurements other processes had more than "
        f"{QUIET_RATIO:.0%} of the cores (up to {max(crowded):.0%}).**"
    )
    return [said]


def page(record: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    parts = record["parts"]
    texts = ["# How cost grows", "![growth of cost](scale.svg)"]
    if any(part["quick"] for part in parts.values()):
        texts.append("**A quick try: the parts run, and their figures are no result.**")
    texts += [
        "\n".join(f"- {line}" for line in record["verdicts"]),
        *reasons(record["verdicts"], "several-variants"),
    ]
    texts.append(
        "CPU time of all the service's processes, forward pass included; client and service share the cores. "
        "Medians over repeats; ratios are taken within a repeat, with the smallest and largest in brackets. "
        "Percentiles are of all repeats' requests, and blank where fewer than ten lie beyond. Every request "
        "is in scale.json."
    )
    for title, lines in tables_of(parts).items():
        told = parts[next(name for name, one in TITLES.items() if one == title)]
        environment = told["environment"]
        changed = " with changes" if environment.get("dirty") else ""
        where = (
            f"{told['at']}, commit {environment.get('commit')}{changed}; {environment.get('cpu_model')}, "
            f"{environment.get('num_cores')} cores; {told['size']} size, {told['repeats']} repeats, "
            f"seed {told['seed']}."
        )
        texts += [f"## {title}", where, *_crowds(told["cells"]), lines]
    return "\n\n".join(texts) + "\n"
