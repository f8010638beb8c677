"""The page of ``bench_study``: the answer, goals, comparisons, runs. Pure: a digest in, Markdown out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD = """# A whole study on this machine

`make study`: two arms of ten variants each, all of one architecture (mini: four layers), and the ten tasks in
fifty languages of the bundled sample, asked in an open loop. **Weights are synthetic: times are those of the
architecture, answers mean nothing.**
"""

QUICK = """
**Made with `--quick`: a few runs of a second each, which prove that all of it runs, and nothing else.**
"""

COMPARISONS = """
## Comparisons
Ratios of the arm to the reference over pairs of runs on one schedule, with their 95 % intervals.
"""
PARTS = """
Of {num_parts} comparisons of single tasks, languages and cells, {num_parts_marked} differ after correction.
"""


def markdown(found: dict[str, Any]) -> str:
    """Return the page that shows a digest."""
    word, paragraph = found["verdict"]["word"].upper(), found["verdict"]["paragraph"]
    compared = [*found["aa"], found["positive_control"]["comparison"], *found["comparisons"]]
    parts = (
        HEAD,
        *((QUICK,) if found.get("quick") else ()),
        _where(found["environment"], found["design"]),
        f"\n## The answer\n**{word}.** {paragraph}\n",
        "## Goals",
        _table(("what", "goal", "seen", "met"), _goals(found)),
        COMPARISONS,
        _table(
            ("comparison", "ratio", "interval", "margin", "pairs", "verdict", "pairs that would settle it"),
            map(_comparison, compared),
        ),
        PARTS.format(**found),
        "## Runs",
        _table(
            ("run", "valid", "requests", "p50 ms", "p95 ms", "lateness p99 ms", "steal"),
            map(_run, found["runs"]),
        ),
        "",
        *(f"- {text}" for text in found["deviations"]),
    )
    return "\n".join(parts) + "\n"


def _where(environment: dict[str, Any], design: dict[str, Any]) -> str:
    dirty = " with uncommitted changes" if environment.get("dirty") else ""
    return (
        f"Machine: {environment.get('cpu_model')}, {environment.get('num_cores')} cores; server on core "
        f"{design['server_cpus']}, generator on core {design['load_cpus']}. Commit "
        f"{str(environment.get('commit'))[:10]}{dirty}, seed {design['seeds']['root']}. Load: "
        f"{design['primary_load_ratio']:.0%} of {design['capacity_per_s']:.0f} requests a second, "
        f"{design['replicate_s']:g} s a run."
    )


def _goals(found: dict[str, Any]) -> list[tuple[str, ...]]:
    num_valid, num_runs = sum(run["valid"] for run in found["runs"]), len(found["runs"])
    control, words = found["positive_control"], [one["word"] for one in found["aa"]]
    is_silent = not {"faster", "slower"} & set(words) and all(one["num_pairs"] for one in found["aa"])
    seen = (
        (
            "the whole study, up to its page",
            f"<= {found['goal_s']:.0f} s",
            f"{found['elapsed_s']:.0f} s",
            found["elapsed_s"] <= found["goal_s"],
        ),
        ("valid runs", "all", f"{num_valid} of {num_runs}", num_valid == num_runs),
        ("the reference against itself", "no alarm", ", ".join(words), is_silent),
        (
            f"an arm of {control['planted_ratio']:g} times the layers",
            "found slower",
            control["comparison"]["word"],
            control["found"],
        ),
    )
    return [(*cells, "yes" if met else "**no**") for *cells, met in seen]


def _comparison(one: dict[str, Any]) -> tuple[str, ...]:
    needed = one["num_pairs_needed"]
    return (
        one["name"] + (" (primary)" if one["primary"] else ""),
        "-" if one["log_ratio"] is None else f"{math.exp(one['log_ratio']):.3f}",
        _span(one["interval"]),
        _span(one["margin"]),
        str(one["num_pairs"]),
        one["word"],
        "" if needed is None else str(needed),
    )


def _run(run: dict[str, Any]) -> tuple[str, ...]:
    latency, steal = run["latency_s"], run["steal_ratio"]
    return (
        Path(run["path"]).name,
        "yes" if run["valid"] else f"**no**: {run['reasons'][0]}",
        str(run["n"]),
        _ms(latency["p50"]),
        _ms(latency["p95"]),
        str(run["lateness_p99"] or "-").removesuffix(" ms"),
        "-" if steal is None else f"{steal:.2%}",
    )


def _span(ends: dict[str, Any] | None) -> str:
    return "-" if ends is None else f"{math.exp(ends['low']):.3f} to {math.exp(ends['high']):.3f}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
