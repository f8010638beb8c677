"""When each item is sent: a header and one arrival a line, in order of time.

Times are integer microseconds from the start of the trace. The header holds what made
the trace (law, seed, mix, options), the hashes of the two files beside it, and where
the texts come from under which licence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from loadtest.trace.items import Item

SCHEMA = "xtrace/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that items were read from; ``file`` is relative to the data folder."""

    task: str
    languages: tuple[str, ...]
    file: str
    sha256: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a schedule.

    ``law``: the arrival law as it was written. ``mix``: weights as asked for. ``options``: deviations from
    the benchmark's requests, none by default.
    """

    name: str
    law: str
    duration_s: float
    seed: int
    num_items: int
    num_arrivals: int
    items_sha256: str
    gold_sha256: str
    mix: Mapping[str, Any]
    options: Mapping[str, Any]
    sources: tuple[Source, ...]
    version: str
    schema: str = SCHEMA


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Send the item with id ``item`` at ``t_us`` microseconds; ``i`` counts from 0."""

    i: int
    t_us: int
    item: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace whose hashes were checked. ``items`` by id, candidates included; ``gold_path`` is not opened."""

    folder: Path
    header: Header
    items: Mapping[str, Item]
    arrivals: tuple[Arrival, ...]
    gold_path: Path
