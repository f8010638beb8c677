"""What was measured on a GPU into tables, verdicts and a page; pure.

Rules: whatever is missing, because it failed or because the time was over, is said to be missing and hides
nothing else; a share of the best product is taken within a repeat; what holds for several repeats is their
median, with the smallest and largest beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.engine_report import Spread, markdown, reasons

if TYPE_CHECKING:
    from collections.abc import Sequence

GOAL_RATIO = 0.5
# MLPerf's server over offline for BERT-large on an H200 is 0.79.
GOAL_SERVED = 0.8
NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement.

    ``part``: what of. ``tokens``: of a batch, as many as its sequences have at most; None where there is no
    batch. ``repeat``: from 0. ``values``: by name, in the units that the name tells.
    """

    size: str
    part: str
    tokens: int | None
    repeat: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """All of them."""

    given: tuple[Sample, ...]

    def values(self, part: str, name: str, *, size: str = "", tokens: int | None = None) -> dict[int, float]:
        """Return one value of each repeat in which it was measured."""
        return {
            sample.repeat: sample.values[name]
            for sample in self.given
            if (sample.part, sample.size, sample.tokens) == (part, size, tokens)
        }

    def best_product(self) -> dict[int, float]:
        """Return the FLOP/s of each repeat's best product."""
        return {one.repeat: max(one.values.values()) for one in self.given if one.part == "product"}

    def tokens(self, part: str, size: str) -> list[int]:
        """Return the batches of which a part was measured."""
        return sorted(
            {one.tokens for one in self.given if (one.part, one.size) == (part, size) and one.tokens}
        )

    def sizes(self) -> list[str]:
        """Return the models' sizes in the order in which they were measured."""
        return list(dict.fromkeys(one.size for one in self.given if one.size))

    def share(self, part: str, size: str, tokens: int) -> Spread | None:
        """Return a part's FLOP/s over the best product's; None where they were not measured."""
        return over(self.values(part, "flops_per_s", size=size, tokens=tokens), self.best_product())


def over(numerators: dict[int, float], denominators: dict[int, float]) -> Spread | None:
    """Divide repeat by repeat; None where no repeat has both."""
    both = sorted(numerators.keys() & denominators.keys())
    return Spread.of(numerators[one] / denominators[one] for one in both) if both else None


def tables_of(samples: Samples, *, num_clients: int, num_together: int) -> dict[str, list[list[str]]]:
    """Return the tables by their titles, those without a line left out."""
    tables = {
        "Large batches": _large(samples),
        "Parts of the forward pass": _parts(samples),
        "From host to host": _host_to_host(samples),
        "Served": _served(samples, num_clients, num_together),
    }
    return {title: lines for title, lines in tables.items() if len(lines) > 1}


def _large(samples: Samples) -> list[list[str]]:
    lines = [["size", "tokens", "ms", "TFLOP/s", "share of the best product"]]
    for size in samples.sizes():
        for tokens in samples.tokens("forward", size):
            taken, speeds = (
                samples.values("forward", name, size=size, tokens=tokens)
                for name in ("seconds", "flops_per_s")
            )
            share = samples.share("forward", size, tokens)
            lines.append([size, f"{tokens:,}", _ms(taken), _tera(speeds), _told(share)])
    return lines


def _parts(samples: Samples) -> list[list[str]]:
    lines = [["size", "tokens", "part", "ms", "TFLOP/s", "share of the forward pass"]]
    for size in samples.sizes():
        for part, told in (("linears", "linear maps alone"), ("attention", "attention alone")):
            for tokens in samples.tokens(part, size):
                taken, speeds = (
                    samples.values(part, name, size=size, tokens=tokens)
                    for name in ("seconds", "flops_per_s")
                )
                share = over(taken, samples.values("forward", "seconds", size=size, tokens=tokens))
                lines.append([size, f"{tokens:,}", told, _ms(taken), _tera(speeds), _told(share)])
    return lines


def _host_to_host(samples: Samples) -> list[list[str]]:
    lines = [["size", "tokens", "unrecorded ms", "recorded ms", "recorded / unrecorded"]]
    for size in samples.sizes():
        for tokens in samples.tokens("plain", size):
            plain, recorded = (
                samples.values(part, "seconds", size=size, tokens=tokens) for part in ("plain", "recorded")
            )
            lines.append([size, f"{tokens:,}", _ms(plain), _ms(recorded), _told(over(recorded, plain))])
    return lines


def _served(samples: Samples, num_clients: int, num_together: int) -> list[list[str]]:
    lines = [["size", "clients", "sequences of a request", "served tokens/s", "offline tokens/s", "ratio"]]
    each = (
        ("served_per_s", num_clients, 1),
        ("served_together_per_s", max(1, num_clients // num_together), num_together),
    )
    for size in samples.sizes():
        for name, clients, together in each:
            served, offline = _served_and_offline(samples, size, name)
            if served:
                speeds = [f"{median(values.values()):,.0f}" for values in (served, offline)]
                lines.append([size, f"{clients:,}", str(together), *speeds, _told(over(served, offline))])
    return lines


def _served_and_offline(samples: Samples, size: str, name: str) -> tuple[dict[int, float], dict[int, float]]:
    served, offline = (samples.values("served", one, size=size) for one in (name, "offline_per_s"))
    return served, offline


def _ms(values: dict[int, float]) -> str:
    return f"{1e3 * median(values.values()):.2f}" if values else NOT_MEASURED


def _tera(values: dict[int, float]) -> str:
    return f"{median(values.values()) / 1e12:.0f}" if values else NOT_MEASURED


def _told(spread: Spread | None) -> str:
    return NOT_MEASURED if spread is None else str(spread)


def verdicts_of(samples: Samples, sizes: Sequence[str], *, goal_tokens: int, num_clients: int) -> list[str]:
    """Say of each size whether its goals are met."""
    found = []
    for size in sizes:
        share = samples.share("forward", size, goal_tokens)
        goal = f"{size}: >= {GOAL_RATIO} of the best product at {goal_tokens:,} tokens"
        found.append(_verdict(goal, share, GOAL_RATIO))
    for size in sizes:
        ratio = over(*_served_and_offline(samples, size, "served_per_s"))
        goal = f"{size}: served >= {GOAL_SERVED} of offline at {num_clients:,} clients"
        found.append(_verdict(goal, ratio, GOAL_SERVED))
    return found


def _verdict(goal: str, seen: Spread | None, least: float) -> str:
    if seen is None:
        return f"{goal}: {NOT_MEASURED}"
    return f"{goal}: {'met' if seen.middle >= least else 'MISSED'} ({seen})"


def page(record: dict[str, Any]) -> str:
    """Return a record, as it stands in its file, as Markdown."""
    samples = Samples(given=tuple(Sample(**one) for one in record["samples"]))
    products = samples.best_product()
    best = f"{_tera(products)} TFLOP/s" if products else NOT_MEASURED
    where = (
        f"{record['at']}, {record['device']}, torch {record['torch']}, CUDA {record['cuda']}, commit "
        f"{record['environment'].get('commit')}; bfloat16, {len(products)} of {record['repeats']} "
        f"interleaved repeats in {record['took_s']:.0f} s; medians, with the smallest and largest repeat in "
        f"brackets. Best product: {best}. Every repeat is in the JSON file beside this one."
    )
    parts = ["# The engine on a GPU", where]
    if record["few"]:
        parts.append("**A quick try: the parts run, and their figures are no result.**")
    parts += ["\n".join(f"- {line}" for line in record["verdicts"]), *reasons(record["verdicts"], "on-a-gpu")]
    parts += [
        f"**{size}: no variable-length attention, no graphs: {reason}.**"
        for size, reason in record["varlen_unavailable"].items()
        if reason is not None
    ]
    if record["missing"]:
        parts.append("Missing:\n\n" + "\n".join(f"- {line}" for line in record["missing"]))
    tables = tables_of(samples, num_clients=record["num_clients"], num_together=record["num_together"])
    for title, lines in tables.items():
        parts += [f"## {title}", markdown(lines)]
    return "\n\n".join(parts) + "\n"
