"""Which arm runs when: pairs in random order, restarts around them, controls first.

A *block* is one drained run of one arm. A *pair* holds each arm once, back to back, on
the same segment of trace, so that drift and the luck of arrivals hit both alike. A
*restart* is a fresh start of the servers, the outermost thing that is repeated. Rules:

- Order within a pair is random and balanced: over as many pairs as there are arms,
  each arm has each place once (AB and BA equally often, for two).
- The loads of a pair follow each other in random order.
- Controls come first: the reference against itself (A/A), then a deliberately slower
  arm that must be found. A study that fails them says nothing of its arms.
- Two pairs never share a segment, and no segment is used for two loads.

Source: Fisher, "The Design of Experiments" (1935); Kalibera and Jones (2013) for
restarts; Bulej et al., "Duet benchmarking" (2020) for what pairing gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator


class Phase(StrEnum):
    """What a block is run for."""

    AA = "aa"
    CONTROL = "control"
    PAIR = "pair"
    OFFLINE = "offline"


class Side(StrEnum):
    """Which end of the comparison a block stands at; in A/A the same arm stands at both."""

    REFERENCE = "reference"
    ARM = "arm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What was declared: arms, pairs, restarts, loads.

    ``load_ratios``: shares of the reference arm's capacity; ``control_load_ratio``: the one at which
    controls run. ``control``: the deliberately slower arm. Restarts are for each phase, at most its pairs.
    """

    reference: str
    arms: tuple[str, ...]
    num_pairs: int
    num_restarts: int
    load_ratios: tuple[float, ...] = (0.3, 0.6, 0.8)
    control_load_ratio: float = 0.6
    num_aa_pairs: int = 0
    control: str | None = None
    num_control_pairs: int = 0
    num_offline_pairs: int = 0

    def __post_init__(self) -> None:
        if not self.arms or self.reference in self.arms or len(set(self.arms)) < len(self.arms):
            raise ValueError(
                f"The reference {self.reference!r} and the arms {self.arms} must be there, and all different."
            )
        if self.num_pairs < 1 or self.num_restarts < 1 or not self.load_ratios:
            raise ValueError("A design needs at least one pair, one restart and one load.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One run, in the order of the plan.

    ``restart`` counts through the whole plan; ``pair`` within its phase. ``position``: 0 for the first of
    its pair. ``load_ratio``: None where all is sent at once. ``segment``: which part of the trace.
    """

    index: int
    phase: Phase
    restart: int
    pair: int
    position: int
    arm: str
    side: Side
    load_ratio: float | None
    segment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One phase: who is compared, how often, at which loads."""

    phase: Phase
    entrants: tuple[tuple[str, Side], ...]
    num_pairs: int
    load_ratios: tuple[float | None, ...]


def plan(design: Design, rng: Generator) -> tuple[Block, ...]:
    """Return all blocks of a design in the order in which to run them; the same seed, the same plan."""
    blocks: list[Block] = []
    restart = 0
    segment = 0
    for part in _parts(design):
        num_restarts = min(design.num_restarts, part.num_pairs)
        orders = {load: _orders(len(part.entrants), part.num_pairs, rng) for load in part.load_ratios}
        for pair in range(part.num_pairs):
            for load in (part.load_ratios[i] for i in rng.permutation(len(part.load_ratios))):
                for position, entrant in enumerate(orders[load][pair]):
                    arm, side = part.entrants[entrant]
                    blocks.append(
                        Block(
                            index=len(blocks),
                            phase=part.phase,
                            restart=restart + pair * num_restarts // part.num_pairs,
                            pair=pair,
                            position=position,
                            arm=arm,
                            side=side,
                            load_ratio=load,
                            segment=segment,
                        )
                    )
                segment += 1
        restart += num_restarts
    return tuple(blocks)


def _parts(design: Design) -> tuple[_Part, ...]:
    reference = (design.reference, Side.REFERENCE)
    at_control = (design.control_load_ratio,)
    arms = (reference, *((arm, Side.ARM) for arm in design.arms))
    parts = [
        _Part(
            phase=Phase.AA,
            entrants=(reference, (design.reference, Side.ARM)),
            num_pairs=design.num_aa_pairs,
            load_ratios=at_control,
        ),
        _Part(phase=Phase.PAIR, entrants=arms, num_pairs=design.num_pairs, load_ratios=design.load_ratios),
        _Part(phase=Phase.OFFLINE, entrants=arms, num_pairs=design.num_offline_pairs, load_ratios=(None,)),
    ]
    if design.control is not None:
        slower = (reference, (design.control, Side.ARM))
        control = _Part(
            phase=Phase.CONTROL,
            entrants=slower,
            num_pairs=design.num_control_pairs,
            load_ratios=at_control,
        )
        parts.insert(1, control)
    return tuple(part for part in parts if part.num_pairs)


def _orders(num_entrants: int, num_pairs: int, rng: Generator) -> list[list[int]]:
    """Return each pair's order of the entrants: shuffled rotations of a random order, as often as needed."""
    orders: list[list[int]] = []
    while len(orders) < num_pairs:
        base = rng.permutation(num_entrants).tolist()
        orders += [base[k:] + base[:k] for k in rng.permutation(num_entrants).tolist()]
    return orders[:num_pairs]
