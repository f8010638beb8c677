"""Repeats of the engine's benchmark into tables and verdicts; pure.

Rules: a figure is the median over repeats, with the smallest and largest beside it; a ratio is taken
within a repeat, never between two of them; a goal that is missed is said to be missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GOAL_RATIO, GOAL_TOKENS = 0.85, 512
GOAL_INT8 = 1.6
# Other processes had more than this share of the cores during a repeat: it says little.
QUIET_RATIO = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One kind of batch: what is measured, and the useful FLOP/s of each repeat."""

    mix: str
    budget: int
    num_tokens: int
    num_sequences: int
    form: str
    flops_per_s: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median and the range of the repeats around it."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Summarise repeats."""
        given = list(values)
        return cls(middle=median(given), least=min(given), most=max(given))

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.least:.2f}-{self.most:.2f})"


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Divide repeat by repeat."""
    return Spread.of(one / other for one, other in zip(numerators, denominators, strict=True))


def find(cells: Sequence[Cell], form: str, mix: str, budget: int) -> Cell | None:
    """Return one cell; None where it was not measured."""
    return next((c for c in cells if (c.form, c.mix, c.budget) == (form, mix, budget)), None)


def table(cells: Sequence[Cell], sgemm: Sequence[float], forms: Sequence[str]) -> list[list[str]]:
    """Return a line for each batch: GFLOP/s of each form, float32 over sgemm, each form over float32."""
    others = [form for form in forms if form != "float32"]
    lines = [
        ["mix", "tokens", "sequences"]
        + [f"{form} GF/s" for form in forms]
        + ["float32 / sgemm"]
        + [f"{form} / float32" for form in others]
    ]
    for base in (cell for cell in cells if cell.form == "float32"):
        found = [find(cells, form, base.mix, base.budget) for form in forms]
        speeds = [f"{median(cell.flops_per_s) / 1e9:.0f}" if cell else "" for cell in found]
        gains = [
            str(ratio(cell.flops_per_s, base.flops_per_s)) if cell else ""
            for cell in (find(cells, form, base.mix, base.budget) for form in others)
        ]
        share = str(ratio(base.flops_per_s, sgemm))
        lines.append([base.mix, f"{base.num_tokens:,}", f"{base.num_sequences:,}", *speeds, share, *gains])
    return lines


def verdicts(cells: Sequence[Cell], sgemm: Sequence[float]) -> list[str]:
    """Say of each goal whether it is met, and by which batches it is missed."""
    bases = [cell for cell in cells if cell.form == "float32" and cell.budget >= GOAL_TOKENS]
    shares = {f"{c.mix} {c.budget}": ratio(c.flops_per_s, sgemm).middle for c in bases}
    gains = {
        f"{c.mix} {c.budget}": ratio(other.flops_per_s, c.flops_per_s).middle
        for c in bases
        if (other := find(cells, "int8", c.mix, c.budget)) is not None
    }
    return [
        _verdict(
            f"float32 >= {GOAL_RATIO} of the best sgemm from {GOAL_TOKENS} tokens up", shares, GOAL_RATIO
        ),
        _verdict(f"int8 >= {GOAL_INT8} x float32 from {GOAL_TOKENS} tokens up", gains, GOAL_INT8),
    ]


def _verdict(goal: str, values: dict[str, float], least: float) -> str:
    if not values:
        return f"{goal}: not measured"
    missed = {name: value for name, value in values.items() if value < least}
    if not missed:
        return f"{goal}: met (least {min(values.values()):.2f})"
    named = ", ".join(f"{name}: {value:.2f}" for name, value in missed.items())
    return f"{goal}: MISSED by {len(missed)} of {len(values)} ({named})"


def reasons(says: Iterable[str], place: str) -> list[str]:
    """Say where the reasons of a missed goal stand, if one was missed. ``place``: a heading of missed.md."""
    if not any("MISSED" in line for line in says):
        return []
    return [f"Why a goal is missed, and what was tried: [missed goals](missed.md#{place})."]


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return a table whose first line is its head."""
    head, *body = lines
    rows = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def page(record: dict[str, Any], tables: dict[str, list[list[str]]], says: Sequence[str]) -> str:
    """Return the results as Markdown."""
    environment = record["environment"]
    changed = " with changes" if environment.get("dirty") else ""
    crowded = [share for share in record["others_ratio"] if share > QUIET_RATIO]
    where = (
        f"{record['at']}, commit {environment.get('commit')}{changed}; {environment.get('cpu_model')}, "
        f"{environment.get('num_cores')} cores, {record['threads']} threads, torch {record['torch']}; "
        f"{record['repeats']} interleaved repeats, seed {record['seed']}. Medians, with the smallest and "
        "largest repeat in brackets; ratios are taken within a repeat. Every repeat is in the JSON file "
        "beside this one."
    )
    parts = [f"# The engine on a CPU: {record['size']}", where]
    if record["quick"]:
        parts.append("**A quick try: the parts run, and their figures are no result.**")
    if crowded:
        parts.append(
            f"**Not quiet: in {len(crowded)} of {record['repeats']} repeats other processes had more than "
            f"{QUIET_RATIO:.0%} of the cores (up to {max(crowded):.0%}).**"
        )
    parts += ["\n".join(f"- {line}" for line in says), *reasons(says, "the-forward-pass")]
    for title, lines in tables.items():
        parts += [f"## {title}", markdown(lines)]
    return "\n\n".join(parts) + "\n"
