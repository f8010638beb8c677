"""How often each task and language is asked for. Pure: weights, counts and draws, from a seed.

The weight of a task and that of a language inside its task multiply. Each is one of

- ``items``: every item as often as any other (of what was selected);
- ``natural``: as many as the data set holds, whatever was selected of it;
- ``uniform``: tasks alike, or the languages of a task alike;
- given: ``xnli=2,xquad=1``, and ``*=1`` for those not named.

An open schedule draws the cell of each arrival from the weights and then goes round that
cell's items. Where each item is asked once (``offline``, ``closed``), the trace keeps
the largest part of the items that has these proportions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals import draw_items
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

ITEMS, NATURAL, UNIFORM, OTHERS = "items", "natural", "uniform", "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One task in one language: how many items the trace has of it, and how many the data set."""

    task: str
    language: str
    num_items: int
    num_natural: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One of the four ways; ``given`` is empty unless weights were given."""

    text: str
    given: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Weights of tasks, and of languages inside a task."""

    tasks: Weights
    languages: Weights

    @property
    def is_plain(self) -> bool:
        """Whether every item is asked for as often as any other."""
        return self.tasks.text == self.languages.text == ITEMS


def parse_weights(text: str, known: Sequence[str], what: str) -> Weights:
    """Return the weights that a text asks for.

    Raises:
        TraceError: it is none of the four ways, or names something unknown.
    """
    text = text.strip()
    if text in (ITEMS, NATURAL, UNIFORM):
        return Weights(text=text)
    given: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.partition("="))
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if not equals or not 0 <= weight < math.inf:
            raise TraceError(
                f"Cannot read the {what} mix {text!r}; give items, natural, uniform, or weights such as "
                f"{known[0]}=2,{OTHERS}=1."
            )
        if name != OTHERS and name not in known:
            raise TraceError(f"The {what} mix names {name!r}, which is not in the trace.")
        given[name] = weight
    return Weights(text=text, given=given)


def shares_of(cells: Sequence[Cell], mix: Mix) -> NDArray[np.float64]:
    """Return the share of arrivals of each cell, float64 ``[cells]``, which sum to 1.

    Raises:
        TraceError: a weight is missing, or all are 0.
    """
    by_task: dict[str, list[int]] = {}
    for i, cell in enumerate(cells):
        by_task.setdefault(cell.task, []).append(i)
    shares = np.zeros(len(cells))
    for task, members in by_task.items():
        inside = np.array([_weight(mix.languages, cells[i].language, [cells[i]]) for i in members])
        if inside.sum() > 0:
            weight = _weight(mix.tasks, task, [cells[i] for i in members])
            shares[members] = weight * inside / inside.sum()
    if not shares.sum() > 0:
        raise TraceError("Every weight of the mix is 0; give a task and a language of the trace one above 0.")
    normalised: NDArray[np.float64] = shares / shares.sum()
    return normalised


def draw(cells: Sequence[Cell], n: int, mix: Mix, rng: Generator) -> NDArray[np.int64]:
    """Return ``n`` item numbers, int64 ``[n]``, counted through the cells in order."""
    total = sum(cell.num_items for cell in cells)
    if mix.is_plain:
        return draw_items(total, n, rng)
    ends = np.cumsum(shares_of(cells, mix))
    chosen = np.minimum(np.searchsorted(ends, rng.random(n), side="right"), len(cells) - 1)
    return _fill(cells, chosen, rng)


def draw_once(cells: Sequence[Cell], mix: Mix, rng: Generator) -> NDArray[np.int64]:
    """Return item numbers, int64, none twice: the largest part of the items in the mix's proportions.

    The scarcest cell is there whole; the others have the whole part of their share beside it.

    Raises:
        TraceError: a weight is missing, or all are 0.
    """
    total = sum(cell.num_items for cell in cells)
    if mix.is_plain:
        return draw_items(total, total, rng)
    shares = shares_of(cells, mix)
    sizes = np.array([cell.num_items for cell in cells])
    asked = shares > 0
    scale = float(np.min(sizes[asked] / shares[asked]))
    # A share times the scale is a whole number for the scarcest cell, up to rounding.
    counts = np.where(asked, np.floor(shares * scale + 1e-9), 0).astype(np.int64)
    order = np.repeat(np.arange(len(cells)), counts)[draw_items(int(counts.sum()), int(counts.sum()), rng)]
    return _fill(cells, order, rng)


def _fill(cells: Sequence[Cell], chosen: NDArray[np.int64], rng: Generator) -> NDArray[np.int64]:
    """Go round each cell's items in the order in which the cells were chosen."""
    numbers = np.empty(len(chosen), dtype=np.int64)
    start = 0
    for i, cell in enumerate(cells):
        where = np.flatnonzero(chosen == i)
        if len(where):
            numbers[where] = start + draw_items(cell.num_items, len(where), rng)
        start += cell.num_items
    return numbers


def _weight(weights: Weights, name: str, cells: Sequence[Cell]) -> float:
    if weights.text == UNIFORM:
        return 1.0
    if weights.text == ITEMS:
        return float(sum(cell.num_items for cell in cells))
    if weights.text == NATURAL:
        return float(sum(cell.num_natural for cell in cells))
    weight = weights.given.get(name, weights.given.get(OTHERS))
    if weight is None:
        raise TraceError(f"The mix {weights.text!r} gives {name} no weight; name it, or add {OTHERS}=1.")
    return weight
