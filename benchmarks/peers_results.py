"""What the measurements say: figures by system and round, answers beside float32's.

Rules: only cells without a failed request enter a figure; failures are counted beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.peers_goals import Figure, Rounds
from benchmarks.peers_grid import Grid, Kind, Load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers_store import Store

REFERENCE = "float32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Answers of a system beside those of the service in float32.

    ``most``: the largest difference of a score, or of a vector's component. ``agreement``: the share of
    texts whose likeliest label is the same; of vectors, the least cosine. ``num_items``: texts compared.
    """

    system: str
    cell: str
    num_items: int
    most: float
    agreement: float


def cells_of(store: Store) -> list[dict[str, Any]]:
    """Return every measured cell with its system and round, but for the answers."""
    return [
        {"system": one["key"][1], "round": int(one["key"][2]), "cell": one["key"][3]}
        | {name: value for name, value in one.items() if name not in ("key", "answers")}
        for one in store.under("cell")
    ]


def rounds_of(cells: Sequence[Mapping[str, Any]], name: str, figure: str) -> Rounds:
    """Return a figure of the cell of that name by system and round, where no request failed."""
    found: Rounds = {}
    for one in cells:
        if one["cell"] == name and one["num_failed"] == 0 and figure in one:
            found.setdefault(one["system"], {})[one["round"]] = one[figure]
    return found


def latencies_of(cells: Sequence[Mapping[str, Any]], name: str) -> dict[str, dict[int, list[float]]]:
    """Return the latencies of the cell of that name by system and round, where no request failed."""
    found: dict[str, dict[int, list[float]]] = {}
    for one in cells:
        if one["cell"] == name and one["num_failed"] == 0 and "latencies_ms" in one:
            found.setdefault(one["system"], {})[one["round"]] = one["latencies_ms"]
    return found


def throughputs(cells: Sequence[Mapping[str, Any]], grid: Grid) -> dict[str, Rounds]:
    """Return closed loops' throughputs by the name of the cell."""
    names = [cell.name for cell in grid.cells if cell.load is Load.CLOSED]
    return {name: rounds_of(cells, name, Figure.THROUGHPUT) for name in names}


def agreements(store: Store, systems: Sequence[str]) -> list[Agreement]:
    """Compare all answers with the service's in float32."""
    found = []
    for system in systems:
        for record in store.under("cell", system, "0"):
            cell = record["key"][3]
            reference = store.get("cell", REFERENCE, "0", cell)
            if system != REFERENCE and "answers" in record and reference is not None:
                found.append(compare(system, cell, record["answers"], reference["answers"]))
    return found


def compare(
    system: str, cell: str, ours: Mapping[str, Sequence[float]], reference: Mapping[str, Sequence[float]]
) -> Agreement:
    """Compare answers {item: numbers} of the items that both have."""
    items = sorted(ours.keys() & reference.keys(), key=int)
    if not items:
        return Agreement(system=system, cell=cell, num_items=0, most=float("nan"), agreement=float("nan"))
    left, right = (np.array([side[item] for item in items]) for side in (ours, reference))
    if cell.startswith(Kind.CLASSIFY):
        agreement = float(np.mean(left.argmax(1) == right.argmax(1)))
    else:
        norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        agreement = float(np.min((left * right).sum(1) / norms))
    most = float(np.abs(left - right).max())
    return Agreement(system=system, cell=cell, num_items=len(items), most=most, agreement=agreement)


def chosen_settings(
    trials: Sequence[Mapping[str, Any]], candidates: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the settings whose trial scored best; the first ones where none was tried."""
    tried = {
        index: trial["score"]
        for index, one in enumerate(candidates)
        for trial in trials
        if trial["settings"] == one and trial.get("score")
    }
    return candidates[max(tried, key=lambda index: tried[index], default=0)]
