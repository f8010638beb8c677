"""The tables of the page: goals, throughput, latency, answers, servers; pure.

Rules: a figure is the median over rounds, with the smallest and largest beside it; a ratio is taken within a
round; what was not measured is an empty field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import Spread
from benchmarks.peers_goals import Figure, Verdict, best_peer, ratio_by_round
from benchmarks.peers_grid import Cell, Kind, Load, Mix
from benchmarks.peers_results import rounds_of
from benchmarks.peers_said import is_crowded
from benchmarks.peers_tail import pooled_p99

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.peers_contest import Contest

_WORDS = {Kind.CLASSIFY: "labels", Kind.EMBED: "vectors", Mix.XNLI: "XNLI's pairs", Mix.MIXED: "the mix"}
_FIGURES = {Figure.THROUGHPUT: "throughput", Figure.P50: "p50", Figure.P99: "p99"}
# Of fewer, less than ten lie beyond the percentile.
_FEW_FOR_P99 = 1000


def goal_lines(verdicts: Sequence[Verdict], contest: Contest, shown: Mapping[str, str]) -> list[list[str]]:
    """Return a line a goal: the ratio, and whether it is met."""
    lines = [["form", "what", "load", "goal", "best peer", "ratio", "rounds", "crowded", "verdict"]]
    for one in verdicts:
        goal = one.goal
        load = (
            f"{goal.level:g} under way"
            if goal.load is Load.CLOSED
            else f"{goal.level:.0%} of the best peer's capacity"
        )
        sides = [
            cell
            for cell in contest.records
            if cell["cell"] == goal.cell_name(one.kind) and cell["system"] in (goal.form, one.best)
        ]
        lines.append(
            [
                goal.form,
                f"{_FIGURES[goal.figure]}, {_WORDS[one.kind]}, {_WORDS[goal.mix]}",
                load,
                str(one),
                shown.get(one.best, one.best),
                "" if one.ratio is None else str(one.ratio),
                str(one.num_rounds) + ("" if one.num_requests is None else f", {one.num_requests} requests"),
                f"{sum(map(is_crowded, sides))} of {len(sides)}",
                _verdict(one),
            ]
        )
    return lines


def _verdict(one: Verdict) -> str:
    said = {True: "met", False: "MISSED", None: f"not decided: {one.why}"}[one.is_met]
    if one.ratio is None or _is_sure(one):
        return said
    return said + (
        ", but not in every round" if one.num_requests is None else ", but the interval holds both"
    )


def _is_sure(verdict: Verdict) -> bool:
    """Whether every round comes out as the median does."""
    assert verdict.ratio is not None, "Only a ratio can be sure. This is a bug."
    ends = (verdict.ratio.least, verdict.ratio.most)
    if verdict.goal.figure.more_is_better:
        return len({end >= verdict.goal.bound for end in ends}) == 1
    return len({end <= verdict.goal.bound for end in ends}) == 1


def figure_lines(
    contest: Contest, wanted: Sequence[Cell], figure: Figure, shown: Mapping[str, str]
) -> list[list[str]]:
    """Return a line a cell: each system's figure, then all that are no peers over the best peer."""
    others = [name for name in shown if name not in contest.peers]
    lines = [["what", "under way", *shown.values(), "best peer", *(f"{name} / best peer" for name in others)]]
    scale, digits = (1.0, 1) if figure is Figure.THROUGHPUT else (1e3, 0)
    for cell in wanted:
        found = rounds_of(contest.records, cell.name, figure)
        best = best_peer(found, contest.standing(cell), more_is_better=figure.more_is_better)
        values = [_spread(found.get(name, {}).values(), scale, digits) for name in shown]
        ratios = [ratio_by_round(found.get(name, {}), found[best]) if best else [] for name in others]
        says = [str(Spread.of(ratio)) if ratio else "" for ratio in ratios]
        lines.append([_words(cell), f"{cell.level:g}", *values, shown.get(best or "", ""), *says])
    return lines


def _words(cell: Cell) -> str:
    return f"{_WORDS[cell.kind]}, {_WORDS[cell.mix]}"


def _spread(values: Iterable[float], scale: float, digits: int) -> str:
    given = [scale * value for value in values]
    if not given:
        return ""
    spread = Spread.of(given)
    return f"{spread.middle:.{digits}f} ({spread.least:.{digits}f}-{spread.most:.{digits}f})"


def rates(record: dict[str, Any]) -> str:
    """Say how the open loop's rates came about."""
    capacities = "; ".join(
        f"{name}: {record['systems'][one['peer']]['title']}, {one['per_s']:.1f} requests/s"
        for name, one in record["capacities"].items()
    )
    return (
        "Poisson arrivals, the same instants for all. Latency counts from the instant at which a request was "
        "due. Capacity: the most that a peer's closed loop reached in the first round "
        f"({capacities or 'not known'}). p50 and p90 are medians over rounds; the p99 is of all rounds' "
        "requests together, with the interval of the goals' table."
    )


def left_lines(record: dict[str, Any], shown: Mapping[str, str]) -> list[list[str]]:
    """Return a line for each peer that was left out of a cell, with the reason."""
    lines = [["what", "under way", "server", "from round", "of the best peer's figure so far", "bar"]]
    for one in record["left_out"]:
        kind, mix, _, level = one["cell"].split()
        reached = f"{one['share']:.0%} of {shown[one['best']]}"
        what = f"{_WORDS[Kind(kind)]}, {_WORDS[Mix(mix)]}"
        lines.append([what, level, shown[one["peer"]], str(one["number"] + 1), reached, f"{one['bar']:.0%}"])
    return lines


def open_lines(
    cells: Sequence[Mapping[str, Any]], wanted: Sequence[Cell], shown: Mapping[str, str]
) -> list[list[str]]:
    """Return a line for each rate and system."""
    lines = [["what", "rate", "server", "rounds", "requests", "p50, ms", "p90, ms", "p99, ms"]]
    for cell in wanted:
        for name, title in shown.items():
            records = [
                one
                for one in cells
                if (one["system"], one["cell"]) == (name, cell.name) and not one["num_failed"]
            ]
            if not records:
                continue
            count = sum(one["num_replies"] for one in records)
            mark = " (few)" if count < _FEW_FOR_P99 else ""
            p50, p90 = (_spread([one[figure] for one in records], 1e3, 0) for figure in ("p50_s", "p90_s"))
            tail = pooled_p99({one["round"]: one["latencies_ms"] for one in records})
            p99 = f"{tail.value:.0f} ({tail.low:.0f}-{tail.high:.0f}){mark}"
            rate = f"{cell.level:.0%}, {records[0]['rate_per_s']:.1f}/s"
            lines.append([_words(cell), rate, title, str(len(records)), str(count), p50, p90, p99])
    return lines


def agreement_lines(record: dict[str, Any]) -> list[list[str]]:
    """Return how far answers are from float32's."""
    titles = {name: one["title"] for name, one in record["systems"].items()}
    lines = [["server", "what", "texts", "largest difference", "same label, or least cosine"]]
    for one in record["agreements"]:
        kind, mix, *_ = one["cell"].split()
        same = f"{one['agreement']:.1%}" if kind == Kind.CLASSIFY else f"{one['agreement']:.6f}"
        lines.append(
            [
                titles[one["system"]],
                f"{_WORDS[Kind(kind)]}, {_WORDS[Mix(mix)]}",
                str(one["num_items"]),
                f"{one['most']:.2g}",
                same,
            ]
        )
    return lines


def system_lines(record: dict[str, Any], shown: Mapping[str, str]) -> list[list[str]]:
    """Return what each system is made of, how it is set, and what it takes."""
    lines = [["server", "versions", "settings", "start, s", "memory, GB", "CPU ms a request"]]
    for name, title in shown.items():
        one = record["systems"][name]
        visits = one["visits"]
        settings = _settings(one["settings"] | one["switches"]) or "defaults"
        at_16 = [
            cell["server_cpu_ms_a_request"]
            for cell in record["cells"]
            if cell["system"] == name and cell["cell"] == f"{Kind.CLASSIFY} {Mix.XNLI} {Load.CLOSED} 16"
        ]
        lines.append(
            [
                title,
                ", ".join(f"{package} {version}" for package, version in one["versions"].items()),
                settings,
                _spread([visit["start_s"] for visit in visits], 1, 0),
                _spread([visit["memory_bytes"] for visit in visits], 1e-9, 1),
                _spread(at_16, 1, 0),
            ]
        )
    return lines


def trial_lines(record: dict[str, Any]) -> list[list[str]]:
    """Return a line for each setting that a peer was tried with."""
    lines = [["server", "settings", *(f"{_WORDS[mix]}, requests/s" for mix in Mix), "used", "tried"]]
    for one in record["systems"].values():
        for trial in one["trials"]:
            reached = trial.get("throughput_per_s") or {}
            lines.append(
                [
                    one["title"],
                    _settings(trial["settings"]),
                    *(f"{reached[mix]:.1f}" if mix in reached else trial.get("why", "") for mix in Mix),
                    "yes" if trial["settings"] == one["settings"] else "",
                    _tried(trial),
                ]
            )
    return lines


def _tried(trial: Mapping[str, Any]) -> str:
    if "at" not in trial:
        return ""
    return (
        f"{trial['at']}, commit {str(trial['commit'])[:12]}; {trial['cpu_model']}, {trial['num_cores']} cores"
    )


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
