"""When each item is sent: a header and one arrival a line, in order of time.

Times are integer microseconds from the start of the trace. The header holds what made
the trace (law, seed, mix, selection, options), the hashes of the two files beside it,
and where the texts come from under which licence. Nothing in it depends on when, where
or by whom the trace was built.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from loadtest.trace.items import Role, TraceError, item_from, json_line, parse_record, read_records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from loadtest.trace.items import Item

SCHEMA = "xtrace/1"
ITEMS_FILE, GOLD_FILE, SCHEDULE_FILE = "items.jsonl", "gold.jsonl", "schedule.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that items were read from; ``file`` is relative to the data folder.

    ``gold``: whether it holds right answers (XTREME's own scripts strip some).
    """

    task: str
    languages: tuple[str, ...]
    file: str
    sha256: str
    licence: str
    gold: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of a schedule.

    ``law``: the arrival law as it was written. ``mix``: weights as asked for. ``selection``: tasks,
    languages and bounds that chose the items. ``options``: deviations from the benchmark's requests, empty
    unless asked for. ``num_items`` counts everything in ``items.jsonl``, ``num_candidates`` among them.
    """

    name: str
    law: str
    duration_s: float
    seed: int
    num_items: int
    num_candidates: int
    num_arrivals: int
    items_sha256: str
    gold_sha256: str
    mix: Mapping[str, Any]
    selection: Mapping[str, Any]
    options: Mapping[str, Any]
    sources: tuple[Source, ...]
    version: str
    seeds: Mapping[str, Any] = field(default_factory=dict)
    schema: str = SCHEMA

    def to_line(self) -> bytes:
        """Return the first line of ``schedule.jsonl``, LF included."""
        return json_line({"kind": "header", "schema": self.schema, **asdict(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Send the item with id ``item`` at ``t_us`` microseconds; ``i`` counts from 0."""

    i: int
    t_us: int
    item: str

    def to_line(self) -> bytes:
        """Return this arrival's line of ``schedule.jsonl``, LF included."""
        return json_line({"i": self.i, "t_us": self.t_us, "item": self.item})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace whose hashes were checked; ``items`` by id, candidates included."""

    folder: Path
    header: Header
    items: Mapping[str, Item]
    arrivals: tuple[Arrival, ...]
    gold_path: Path

    def candidates(self, task: str) -> list[Item]:
        """Return what a retrieval task searches, in the order of the file."""
        return [item for item in self.items.values() if item.role is Role.CANDIDATE and item.task == task]


def write_schedule(path: Path, header: Header, arrivals: Iterable[Arrival]) -> None:
    """Write a header and its arrivals."""
    with path.open("wb") as file:
        file.write(header.to_line())
        file.writelines(arrival.to_line() for arrival in arrivals)


def digest_of(arrivals: Iterable[Arrival]) -> str:
    """Return the sha256 of what is sent when, whatever the header says of it."""
    digest = hashlib.sha256()
    for arrival in arrivals:
        digest.update(arrival.to_line())
    return digest.hexdigest()


def read_schedule(path: Path) -> tuple[Header, list[Arrival]]:
    """Return the header and the arrivals of a schedule.

    Raises:
        TraceError: the file is missing, of another schema, cut short or out of order; it names the line.
    """
    header: Header | None = None
    arrivals: list[Arrival] = []
    for number, record in read_records(path):
        if header is None:
            header = _header_from(record, path)
            continue
        arrivals.append(_arrival_from(record, path, number, arrivals[-1] if arrivals else None))
    if header is None:
        raise TraceError(f"{path}: empty; build the trace again.")
    if len(arrivals) != header.num_arrivals:
        raise TraceError(
            f"{path}: {len(arrivals)} arrivals, but the header says {header.num_arrivals}; "
            "the file was cut or edited, build the trace again."
        )
    return header, arrivals


def load_trace(folder: Path) -> Trace:
    """Read a trace and check its hashes.

    Raises:
        TraceError: a file is missing or damaged, a hash differs, or an arrival asks for no item.
    """
    if not folder.is_dir():
        raise TraceError(f"{folder}: no such folder; build a trace with 'xlmr-load trace --out {folder}'.")
    header, arrivals = read_schedule(folder / SCHEDULE_FILE)
    items = _load_items(folder / ITEMS_FILE, header.items_sha256)
    gold_path = folder / GOLD_FILE
    _check_hash(gold_path, _sha256_of(gold_path), header.gold_sha256)
    for number, arrival in enumerate(arrivals, start=2):
        item = items.get(arrival.item)
        if item is None or item.role is Role.CANDIDATE:
            what = "no item of items.jsonl" if item is None else "a candidate, which is never scheduled"
            raise TraceError(f"{folder / SCHEDULE_FILE}:{number}: {arrival.item} is {what}.")
    return Trace(folder=folder, header=header, items=items, arrivals=tuple(arrivals), gold_path=gold_path)


def _load_items(path: Path, expected: str) -> dict[str, Item]:
    """Read every item and check the file's hash in one pass over it."""
    items: dict[str, Item] = {}
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                digest.update(line)
                item = item_from(parse_record(line, path, number), path, number)
                if item.id in items:
                    raise TraceError(f"{path}:{number}: {item.id} comes twice; build the trace again.")
                items[item.id] = item
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}).") from error
    _check_hash(path, digest.hexdigest(), expected)
    return items


def _sha256_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TraceError(f"{path}: cannot be read ({error.strerror}).") from error


def _check_hash(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise TraceError(
            f"{path}: sha256 {found[:12]}.., but the schedule was made for {expected[:12]}..; "
            "the file was changed, build the trace again."
        )


def _header_from(record: Mapping[str, Any], path: Path) -> Header:
    if record.get("kind") != "header" or record.get("schema") != SCHEMA:
        raise TraceError(f"{path}:1: no header of schema {SCHEMA}; build the trace again.")
    try:
        values = {key: value for key, value in record.items() if key in Header.__dataclass_fields__}
        sources = tuple(
            Source(**{**source, "languages": tuple(source["languages"])}) for source in record["sources"]
        )
        return Header(**{**values, "sources": sources})
    except (KeyError, TypeError) as error:
        raise TraceError(f"{path}:1: the header is incomplete ({error}); build the trace again.") from None


def _arrival_from(record: Mapping[str, Any], path: Path, number: int, last: Arrival | None) -> Arrival:
    i, t_us, item = record.get("i"), record.get("t_us"), record.get("item")
    if not (isinstance(i, int) and isinstance(t_us, int) and isinstance(item, str)):
        raise TraceError(f'{path}:{number}: no arrival; expected {{"i": .., "t_us": .., "item": ..}}.')
    if i != (0 if last is None else last.i + 1) or t_us < (0 if last is None else last.t_us):
        raise TraceError(
            f"{path}:{number}: arrivals must be numbered from 0 and in order of time; "
            f"found i {i} at {t_us} us."
        )
    return Arrival(i=i, t_us=t_us, item=item)
