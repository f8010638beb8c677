"""What Locust and the live metrics are told of an ended request: corrected latency, no quick failures."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.driver.job import RequestFailedError, _recorder, _write_all
from loadtest.driver.spool import Record, SpoolWriter, read_records
from loadtest.driver.tally import Tally
from tests.loadtest.driver_world import open_plan

if TYPE_CHECKING:
    from pathlib import Path

PLAN = open_plan(timeout_s=2.0)


@pytest.mark.parametrize(
    ("error", "censored", "response_ms"),
    [
        ("", False, 1_500.0),  # from the intended instant: 500 ms of it before it was sent
        ("timeout", True, 1_500.0),  # how long it was waited for, which leaving out would flatter
        ("http 429", False, None),  # a quick refusal is no quick answer
        ("connection refused", False, None),
    ],
)
def test_locust_counts_from_the_intended_instant(
    error: str, *, censored: bool, response_ms: float | None
) -> None:
    fired: list[dict[str, Any]] = []
    kept = bytearray()
    spool, latency = SpoolWriter(kept.extend), Tally()
    ended = Record(
        i=4,
        intended_us=1_000_000,
        sent_us=1_500_000,
        done_us=2_500_000,
        status=None if censored else 200,
        censored=censored,
        error=error,
        timing="",
        body=b"12345",
    )
    _recorder(lambda **said: fired.append(said), spool, PLAN, latency)(ended, "xnli")
    spool.flush()
    assert list(read_records(bytes(kept))) == [ended]
    (said,) = fired
    assert (said["request_type"], said["name"], said["response_length"]) == ("predict", "xnli", 5)
    assert said["response_time"] == response_ms
    assert isinstance(said["exception"], RequestFailedError) == bool(error)
    counted = latency.distribution()
    assert (sum(counted.counts), counted.sum_us) == ((0, 0) if response_ms is None else (1, 1_500_000))


def test_a_piece_is_appended_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk may take a part before it is full; with room again, half a record would spoil all behind it."""
    path = tmp_path / "spool"
    write = os.write
    room = [3]

    def write_little(fd: int, data: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(fd, bytes(data)[: room.pop()])

    with path.open("ab", buffering=0) as file:
        _write_all(file.fileno(), b"first ")
        monkeypatch.setattr(os, "write", write_little)
        with pytest.raises(OSError, match="No space left"):
            _write_all(file.fileno(), b"second ")
        assert path.read_bytes() == b"first "
        monkeypatch.undo()
        _write_all(file.fileno(), b"second")
    assert path.read_bytes() == b"first second"
