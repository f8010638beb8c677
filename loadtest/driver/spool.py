"""What a worker appends as it goes: one record an ended request, with the answer as it came.

A record is a fixed head and three byte strings; nothing is parsed on the dispatch path.
A process that is killed loses the records it had not flushed, and a record cut in half at
the end of a file is left out by the reader. What a full disk does not take is kept and tried
again. Pure but for the sink, a callable that takes bytes, all of them or none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from mmap import mmap

# i, intended, sent (-1: nothing was sent), done: microseconds since the shared start; status
# (0: none), censored; lengths of error, timing and body.
_HEAD = struct.Struct("<IqqqHBBHI")
_FLUSH_BYTES = 2**20  # a worker writes about once a second; a burst of long answers sooner
_MAX_TIMING_BYTES = 2**16 - 1
_MAX_ERROR_BYTES = 2**8 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One ended request. ``sent_us`` is None where nothing was sent, ``status`` where no answer ended."""

    i: int
    intended_us: int
    sent_us: int | None
    done_us: int
    status: int | None
    censored: bool
    error: str
    timing: str
    body: bytes


class SpoolWriter:
    """Collects records and hands them on in large pieces.

    ``problem``: why the last piece could not be written, which is still pending; empty where all is well.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._pending = bytearray()
        self.num_records = 0
        self.problem = ""

    def add(self, record: Record) -> None:
        """Append a record; errors and headers past their limit are cut."""
        error = record.error.encode()[:_MAX_ERROR_BYTES]
        timing = record.timing.encode("utf-8", "replace")[:_MAX_TIMING_BYTES]
        self._pending += _HEAD.pack(
            record.i,
            record.intended_us,
            -1 if record.sent_us is None else record.sent_us,
            record.done_us,
            record.status or 0,
            record.censored,
            len(error),
            len(timing),
            len(record.body),
        )
        self._pending += error + timing + record.body
        self.num_records += 1
        if len(self._pending) >= _FLUSH_BYTES and not self.problem:
            self.flush()

    def flush(self) -> None:
        """Hand on what is pending; what cannot be written stays so."""
        if not self._pending:
            return
        pending, self._pending = self._pending, bytearray()
        try:
            self._sink(bytes(pending))
        except OSError as error:
            self._pending = pending + self._pending  # the sink may have yielded, and more have come
            self.problem = f"Samples could not be written ({error.strerror or error})."
        else:
            self.problem = ""


def read_records(data: bytes | mmap) -> Iterator[Record]:
    """Yield the whole records of a spool; a tail that was cut off is left out."""
    at = 0
    while at + _HEAD.size <= len(data):
        head = _HEAD.unpack_from(data, at)
        i, intended_us, sent_us, done_us, status, censored, num_error, num_timing, num_body = head
        error_at = at + _HEAD.size
        timing_at = error_at + num_error
        body_at = timing_at + num_timing
        at = body_at + num_body
        if at > len(data):
            return
        yield Record(
            i=i,
            intended_us=intended_us,
            sent_us=None if sent_us < 0 else sent_us,
            done_us=done_us,
            status=status or None,
            censored=bool(censored),
            error=data[error_at:timing_at].decode("utf-8", "replace"),
            timing=data[timing_at:body_at].decode("utf-8", "replace"),
            body=data[body_at:at],
        )
