"""What a page of the comparison says around its tables: where and when it was measured, and every caution.

Rules: a cell in which other processes had more than a share of the cores is named, and so is one with failed
requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import QUIET_RATIO
from benchmarks.peers_grid import Grid, Load
from benchmarks.peers_tail import BLOCK, LEVEL

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIN_S = 60.0


def where(record: dict[str, Any], grid: Grid) -> str:
    """Say what was measured, when, on what, and how long it took."""
    sessions, setup = record["sessions"], record["setup"]
    last = sessions[-1]["environment"] if sessions else {}
    commits = list(dict.fromkeys(_commit(one["environment"]) for one in sessions))
    lengths = "; ".join(
        f"{mix}: {one['items']} texts of {one['mean_tokens']:g} tokens on average (p95 {one['p95_tokens']})"
        for mix, one in setup["lengths"].items()
    )
    when = " and ".join(dict.fromkeys((sessions[0]["at"], sessions[-1]["at"]))) if sessions else "never yet"
    return (
        f"XLM-R {setup['size']} (random weights, {setup['vocab_size']:,} ids), one text or pair a request, "
        f"float32 but where said otherwise. Begun {when}, commit {', '.join(commits)}; "
        f"{last.get('cpu_model')}, {last.get('num_cores')} cores. {_took(record)}Grid {grid.name}: "
        f"{grid.num_rounds} rounds, servers in another order in each, seed {setup['seed']}. "
        f"Texts: {setup['texts']}; {lengths}. Tokenizer: "
        f"{setup['tokenizer']}. Medians over rounds, with the range in brackets; a ratio is taken within a "
        "round. Every latency of every round is in the JSON file beside this one."
    )


def _took(record: dict[str, Any]) -> str:
    spent_s = [one["wall_s"] for one in record["sessions"] if "wall_s" in one]
    if not spent_s:
        return ""
    sittings = "one go" if len(spent_s) == 1 else f"{len(spent_s)} goes"
    return f"It took {sum(spent_s) / _MIN_S:.1f} minutes in {sittings}. "


def _commit(environment: Mapping[str, Any]) -> str:
    changed = " with changes" if environment.get("dirty") else ""
    return f"{str(environment.get('commit'))[:12]}{changed}"


def goal_words(grid: Grid) -> str:
    """Say what a ratio is."""
    rule = (
        "A throughput's or median's ratio is the median over rounds, with their range. The p99 is that of "
        f"all rounds' requests together, and what stands beside its ratio is the {LEVEL:.0%} interval of a "
        f"bootstrap of blocks of {BLOCK} requests in a row, the same blocks for both servers, which were "
        "sent the same instants; other minutes would differ by more than that (in simulated queues of this "
        "size it held the long run's ratio in four of five cases). Crowded: cells of either side in which "
        f"other processes had more than {QUIET_RATIO:.0%} of the cores."
    )
    if any(cell.load is Load.OPEN for cell in grid.cells) and grid.bars:
        rule += " The rate is asked of the service and of the peer that its capacity was taken from."
    return rule


def is_crowded(cell: Mapping[str, Any]) -> bool:
    """Whether others had more than their share of the cores."""
    return bool(cell.get("others_ratio", 0.0) > QUIET_RATIO)


def cautions(record: dict[str, Any]) -> list[str]:
    """Return what a reader must know before he takes a figure from here."""
    cells = [cell for cell in record["cells"] if "others_ratio" in cell]
    crowded = [cell for cell in cells if is_crowded(cell)]
    failed = [cell for cell in record["cells"] if cell["num_failed"]]
    said = []
    if record["missing"]:
        said.append(
            f"**Not all is measured yet: {len(record['missing'])} visits are missing (listed below).**"
        )
    if crowded:
        named = "; ".join(f"{_place(cell)} {cell['others_ratio']:.0%}" for cell in crowded)
        said.append(
            f"**Not quiet: in {len(crowded)} of {len(cells)} cells other processes had more than "
            f"{QUIET_RATIO:.0%} of the cores: {named}.**"
        )
    if failed:
        named = ", ".join(f"{cell['system']} {cell['cell']}: {cell['num_failed']}" for cell in failed)
        said.append(f"**Failed requests, whose cells count in no figure: {named}.**")
    return said


def _place(cell: Mapping[str, Any]) -> str:
    return f"{cell['system']}, {cell['cell']}, round {cell['round'] + 1}"
