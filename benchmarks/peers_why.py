"""Why a throughput comes out as it does: forward passes alone, and how the service cut its batches.

Rules: figures come from the same run as those that they explain, and a sentence is made of figures alone.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import Spread
from benchmarks.peers_goals import GOALS, Figure
from benchmarks.peers_grid import Load, Mix

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BATCHES = (
    "By the service's own metrics, all rounds of a cell together. Budget: the next sequence would not have "
    "fitted into the budget or a replica's share of it; empty: nothing more waited, so that a larger budget "
    "or a wait would be needed for a larger batch. Fill: tokens over the budget. Busy: seconds in the "
    "engine a second."
)
_NAMES = {Mix.XNLI: "XNLI's pairs", Mix.MIXED: "the mix"}


def why(record: dict[str, Any]) -> str:
    """Say what the goals of throughput would take of the machine."""
    title = record["systems"][record["forward"][-1]["peer"]]["title"]
    goals = [
        goal
        for goal in GOALS
        if (goal.form, goal.figure, goal.load) == ("float32", Figure.THROUGHPUT, Load.CLOSED)
    ]
    said = [
        (
            "Without HTTP, tokenizer and queue, in float32, on the first "
            f"{record['forward'][-1]['mixes'][Mix.MIXED]['num_texts']} texts of each: what the service's "
            f"pass and that of the best peer in the mix ({title}, with its settings) make of the cores. "
            "GFLOP/s count real tokens only, and what each side multiplies: of its last layer the service "
            "computes all but keys and values for first tokens alone, so that passes compare by texts. The "
            "best product is the fastest single-precision matrix product of the model's shapes in the same "
            "process as the service's pass."
        )
    ]
    for goal in goals:
        own, peer = (_over_product(record, goal.mix, side) for side in ("own", "peer"))
        said.append(
            f"On {_NAMES[goal.mix]} the peer's pass reaches {peer:.0%} of that product and the service's "
            f"{own:.0%}: {goal.bound:g} times the peer's texts would take the service "
            f"{goal.bound * peer * _work_ratio(record, goal.mix):.0%} of it."
        )
    return " ".join(said)


def _work_ratio(record: dict[str, Any], mix: Mix) -> float:
    """Return what the service multiplies for a text over what the peer does."""
    rounds = [one["mixes"][mix] for one in record["forward"]]
    own, peer = (
        median(one["flops_per_s"][side] / one["texts_per_s"][side] for one in rounds)
        for side in ("own", "peer")
    )
    return float(own / peer)


def _over_product(record: dict[str, Any], mix: Mix, side: str) -> float:
    shares: list[float] = [
        one["mixes"][mix]["flops_per_s"][side] / one["product_flops_per_s"] for one in record["forward"]
    ]
    return median(shares)


def forward_lines(record: dict[str, Any]) -> list[list[str]]:
    """Return a line for each mix: both passes, their ratio, and both over the best product."""
    head = ["what", "tokens", "service, GF/s", "peer, GF/s", "service / peer, texts", "best product, GF/s"]
    lines = [[*head, "service / product", "peer / product", "service, texts/s", "peer, texts/s"]]
    for mix in Mix:
        rounds = [(one, one["mixes"][mix]) for one in record["forward"]]

        def told(take: Callable[[Any, Any], float], digits: int = 2, rounds: Any = rounds) -> str:
            spread = Spread.of(take(one, of_mix) for one, of_mix in rounds)
            return f"{spread.middle:.{digits}f} ({spread.least:.{digits}f}-{spread.most:.{digits}f})"

        lines.append(
            [
                _NAMES[mix],
                str(rounds[0][1]["num_tokens"]),
                told(lambda _, of_mix: of_mix["flops_per_s"]["own"] / 1e9, 0),
                told(lambda _, of_mix: of_mix["flops_per_s"]["peer"] / 1e9, 0),
                told(lambda _, of_mix: of_mix["texts_per_s"]["own"] / of_mix["texts_per_s"]["peer"]),
                told(lambda one, _: one["product_flops_per_s"] / 1e9, 0),
                told(lambda one, of_mix: of_mix["flops_per_s"]["own"] / one["product_flops_per_s"]),
                told(lambda one, of_mix: of_mix["flops_per_s"]["peer"] / one["product_flops_per_s"]),
                told(lambda _, of_mix: of_mix["texts_per_s"]["own"], 1),
                told(lambda _, of_mix: of_mix["texts_per_s"]["peer"], 1),
            ]
        )
    return lines


def batch_lines(record: dict[str, Any], shown: Mapping[str, str]) -> list[list[str]]:
    """Return a line for each cell and form of the service: cuts, sizes, fill."""
    lines = [["cell", "server", "batches by cut", "tokens a batch", "sequences a batch", "fill", "busy"]]
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for cell in record["cells"]:
        if cell.get("batches"):
            found.setdefault((cell["cell"], cell["system"]), []).append(cell["batches"])
    for (cell, system), rounds in sorted(found.items()):
        cuts: dict[str, int] = {}
        for one in rounds:
            for cut, count in one["cuts"].items():
                cuts[cut] = cuts.get(cut, 0) + count
        means = [
            [one[name] for one in rounds if one[name] is not None]
            for name in ("batch_tokens", "batch_sequences", "fill_ratio", "engine_busy_ratio")
        ]
        texts = [
            f"{median(values):.{digits}f}" if values else ""
            for values, digits in zip(means, (0, 1, 2, 2), strict=True)
        ]
        counted = ", ".join(f"{cut} {count}" for cut, count in sorted(cuts.items()))
        lines.append([cell, shown[system], counted, *texts])
    return lines
