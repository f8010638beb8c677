"""Recorded arrivals from the traces that others publish, as text lines in and offsets out.

====================  =====================================================================
Azure LLM CSV         header with ``TIMESTAMP`` (UTC date and time), ``ContextTokens``
BurstGPT CSV          header with ``Timestamp`` (seconds), ``Request tokens``
Mooncake JSONL        ``timestamp`` (milliseconds), ``input_length``
access log            ``... [10/Oct/2000:13:55:36 -0700] "GET ..."`` (common and combined)
====================  =====================================================================

The format is recognised by the first line. Lines may be out of order (access logs are
written when a request ends): offsets are sorted, and lengths with them. A line that
cannot be read stops the import: a trace with holes is another trace.

Source: Azure/AzurePublicDataset, HPMLL/BurstGPT, kvcache-ai/Mooncake; Apache httpd, "Log Files".
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from loadtest.trace.arrivals.law import MICROSECONDS, LawError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

_ACCESS_LOG = re.compile(r'^\S+ \S+ .*?\[(\d\d/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] "')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# strptime's %b follows the locale; a log's months do not.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timestamps:
    """When recorded requests came: ``offsets_us`` int64 ``[n]``, sorted, the first 0.

    ``lengths_tokens`` int64 ``[n]``: the requests' lengths, where the format has them.
    """

    format: str
    offsets_us: NDArray[np.int64]
    lengths_tokens: NDArray[np.int64] | None


def parse_timestamps(lines: Iterable[str], *, source: str) -> Timestamps:
    """Recognise the format of text lines and return their arrivals; ``source`` names them in errors.

    Raises:
        LawError: no format fits, or a line cannot be read.
    """
    numbered = ((i, line) for i, line in enumerate(lines, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        raise LawError(f"{source} is empty; a replay needs at least one recorded request.")
    name, rows = _recognise(first, numbered, source)
    instants: list[int] = []
    lengths: list[int] = []
    for instant_us, length in rows:
        instants.append(instant_us)
        if length is not None:
            lengths.append(length)
    if not instants:
        raise LawError(f"{source} has a header and no rows; a replay needs at least one recorded request.")
    order = np.argsort(instants, kind="stable")
    times = np.array(instants, dtype=np.int64)[order]
    return Timestamps(
        format=name,
        offsets_us=times - times[0],
        lengths_tokens=np.array(lengths, dtype=np.int64)[order] if lengths else None,
    )


_Line = tuple[int, str]
_Row = tuple[int, int | None]


def _recognise(first: _Line, rest: Iterator[_Line], source: str) -> tuple[str, Iterator[_Row]]:
    line = first[1].lstrip("\ufeff").strip()
    header = [name.strip() for name in next(csv.reader([line]))]
    if "TIMESTAMP" in header:
        return "azure", _csv_rows(header, ("TIMESTAMP", "ContextTokens"), rest, source)
    if "Timestamp" in header:
        return "burstgpt", _csv_rows(header, ("Timestamp", "Request tokens"), rest, source)
    if line.startswith("{"):
        return "mooncake", _mooncake_rows(chain([(first[0], line)], rest), source)
    if _ACCESS_LOG.match(line):
        return "access-log", _access_log_rows(chain([first], rest), source)
    raise LawError(
        f"{source} is in no known format: its first line is {line[:60]!r}. Known are Azure LLM CSV "
        "(TIMESTAMP, ContextTokens), BurstGPT CSV (Timestamp, Request tokens), Mooncake JSONL (timestamp) "
        "and common or combined access logs."
    )


def _csv_rows(
    header: list[str], names: tuple[str, str], rest: Iterator[_Line], source: str
) -> Iterator[_Row]:
    missing = [name for name in names if name not in header]
    if missing:
        raise LawError(f"{source} has no column {missing[0]!r}; its columns are {', '.join(header)}.")
    when, length = header.index(names[0]), header.index(names[1])
    for number, line in rest:
        cells = next(csv.reader([line]))
        try:
            instant_us = (
                _date_us(cells[when]) if names[0] == "TIMESTAMP" else _scaled(cells[when], MICROSECONDS)
            )
            yield instant_us, int(float(cells[length]))
        except (ValueError, IndexError, OverflowError) as error:
            raise _unreadable(source, number, line) from error


def _mooncake_rows(lines: Iterator[_Line], source: str) -> Iterator[_Row]:
    for number, line in lines:
        try:
            row = json.loads(line)
            length = row.get("input_length")
            yield _scaled(row["timestamp"], 1000), None if length is None else int(length)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise _unreadable(source, number, line) from error


def _access_log_rows(lines: Iterator[_Line], source: str) -> Iterator[_Row]:
    for number, line in lines:
        match = _ACCESS_LOG.match(line)
        try:
            if match is None:
                raise ValueError(line)  # noqa: TRY301 - one exit for every unreadable line
            yield _log_date_us(match[1]), None
        except ValueError as error:
            raise _unreadable(source, number, line) from error


def _unreadable(source: str, number: int, line: str) -> LawError:
    return LawError(
        f"{source}, line {number} cannot be read: {line.strip()[:80]!r}. Mend or remove the line."
    )


def _scaled(value: float | str, per_unit: int) -> int:
    return round(float(value) * per_unit)


def _date_us(text: str) -> int:
    moment = datetime.fromisoformat(text.strip())
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * MICROSECONDS + delta.microseconds


def _log_date_us(text: str) -> int:
    month = _MONTHS.index(text[3:6].capitalize()) + 1
    return _date_us(f"{text[7:11]}-{month:02d}-{text[:2]}T{text[12:20]}{text[21:24]}:{text[24:26]}")
