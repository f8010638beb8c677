"""Spools: what is written is what is read, up to the byte at which a process died."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.driver.spool import Record, SpoolWriter, read_records

INSTANTS = st.integers(-(2**40), 2**50)
RECORDS = st.builds(
    Record,
    i=st.integers(0, 2**32 - 1),
    intended_us=INSTANTS,
    sent_us=st.none() | st.integers(0, 2**50),
    done_us=INSTANTS,
    status=st.none() | st.integers(100, 599),
    censored=st.booleans(),
    error=st.text(max_size=20),
    timing=st.text(max_size=200),
    body=st.binary(max_size=300),
)


def record(i: int, body: bytes = b"{}") -> Record:
    return Record(
        i=i,
        intended_us=0,
        sent_us=1,
        done_us=2,
        status=200,
        censored=False,
        error="",
        timing="",
        body=body,
    )


def spooled(records: list[Record]) -> bytes:
    pieces: list[bytes] = []
    writer = SpoolWriter(pieces.append)
    for one in records:
        writer.add(one)
    writer.flush()
    return b"".join(pieces)


@given(st.lists(RECORDS, max_size=8))
def test_what_is_written_is_read(records: list[Record]) -> None:
    assert list(read_records(spooled(records))) == records


@given(st.lists(RECORDS, min_size=1, max_size=5), st.data())
def test_a_cut_loses_only_the_records_behind_it(records: list[Record], data: st.DataObject) -> None:
    whole = spooled(records)
    cut = data.draw(st.integers(0, len(whole)))
    kept = list(read_records(whole[:cut]))
    lengths = [len(spooled([one])) for one in records]
    expected = sum(sum(lengths[: n + 1]) <= cut for n in range(len(records)))
    assert kept == records[:expected]


def test_long_answers_are_handed_on_before_the_flush() -> None:
    pieces: list[bytes] = []
    writer = SpoolWriter(pieces.append)
    writer.add(record(1, body=bytes(700_000)))
    assert not pieces
    writer.add(record(1, body=bytes(700_000)))
    assert len(pieces) == 1
    assert len(list(read_records(pieces[0]))) == 2
    writer.flush()
    assert len(pieces) == 1


def test_what_a_full_disk_does_not_take_is_tried_again() -> None:
    taken = bytearray()
    full = False

    def sink(data: bytes) -> None:
        if full:
            raise OSError(28, "No space left on device")
        taken.extend(data)

    writer = SpoolWriter(sink)
    writer.add(record(0))
    writer.flush()
    full = True
    writer.add(record(1))
    writer.flush()
    writer.add(record(2))
    assert writer.problem == "Samples could not be written (No space left on device)."
    assert [one.i for one in read_records(bytes(taken))] == [0]
    full = False
    writer.flush()
    assert writer.problem == ""
    assert [one.i for one in read_records(bytes(taken))] == [0, 1, 2]
