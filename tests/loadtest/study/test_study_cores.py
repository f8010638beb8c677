"""Which cores server and generator get."""

from __future__ import annotations

import os

import pytest

from loadtest.study.cores import format_cpus, parse_cpus, share_cpus
from loadtest.study.study_file import StudyError

EIGHT = frozenset(range(8))


@pytest.mark.parametrize("text", ["", "a", "0-", "99999", "3-1"])
def test_cores_that_are_not_there_are_refused(text: str) -> None:
    with pytest.raises(StudyError):
        parse_cpus(text)


def test_cores_are_read_as_a_list_of_ranges() -> None:
    assert parse_cpus("0-2,5", EIGHT) == {0, 1, 2, 5}
    allowed = frozenset(os.sched_getaffinity(0))
    assert parse_cpus(format_cpus(allowed)) == allowed


@pytest.mark.parametrize(
    ("cores", "text"), [([3], "3"), ([5, 0, 1, 2], "0-2,5"), ([0, 2, 4], "0,2,4"), ([], "")]
)
def test_cores_are_written_as_they_are_read(cores: list[int], text: str) -> None:
    assert format_cpus(cores) == text


@pytest.mark.parametrize(
    ("num_cores", "server", "load", "num_load", "given"),
    [
        (8, "auto", "auto", 1, ("0-6", "7")),
        (8, "auto", "auto", 3, ("0-4", "5-7")),
        (2, "auto", "auto", 1, ("0", "1")),
        (1, "auto", "auto", 1, (None, None)),
        (2, "auto", "auto", 2, (None, None)),
        (8, "0-3", "auto", 2, ("0-3", "6-7")),
        (4, "0-3", "auto", 1, ("0-3", None)),
        (4, "auto", "0", 1, ("1-3", "0")),
        (4, None, "auto", 1, (None, "3")),
        (1, None, "auto", 1, (None, None)),
        (4, "auto", None, 1, ("0-2", None)),
        (4, "0", "0", 1, ("0", "0")),
        (4, None, None, 1, (None, None)),
    ],
)
def test_auto_leaves_each_its_own(
    num_cores: int, server: str | None, load: str | None, num_load: int, given: tuple[str | None, str | None]
) -> None:
    found = share_cpus(frozenset(range(num_cores)), server=server, load=load, num_load=num_load)
    assert found == given
