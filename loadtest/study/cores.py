"""Cores: which ones server and generator get, and keeping a process to them.

Rules: both on one core would measure each other. ``auto`` gives the generator the last cores that this
process may use, one a sending process, and the server all others; a machine without a core to spare pins
nobody. Lists are written as Linux writes them, such as `0-2,5`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from loadtest.study.study_file import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from loadtest.study.study_file import Study

AUTO = "auto"


def parse_cpus(text: str, allowed: frozenset[int] | None = None) -> frozenset[int]:
    """Return the cores that a list such as `0-2,5` names; ``allowed``: those of this process.

    Raises:
        StudyError: it names none, or one that this process may not use.
    """
    cores: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            cores.update(range(int(first), int(last if dash else first) + 1))
    except ValueError as error:
        raise StudyError(f"{text!r} is no list of cores; write one such as 0-2,5, or auto") from error
    usable = frozenset(os.sched_getaffinity(0)) if allowed is None else allowed
    if not cores or not cores <= usable:
        raise StudyError(f"cores {text!r} are not all among those allowed here: {format_cpus(usable)}")
    return frozenset(cores)


def format_cpus(cores: Iterable[int]) -> str:
    """Return cores as a list that ``parse_cpus`` reads."""
    spans = []
    for _, run in itertools.groupby(enumerate(sorted(cores)), key=lambda pair: pair[1] - pair[0]):
        numbers = [core for _, core in run]
        spans.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}")
    return ",".join(spans)


def on_cores(study: Study, *, server: str | None, load: str | None) -> Study:
    """Return the study with the command line's cores instead of the file's, and every ``auto`` made a list.

    Raises:
        StudyError: the server is not this study's to pin, or a list names what is not there.
    """
    tables = study.declared
    if server is not None and tables.server.command is None:
        raise StudyError("--server-cpus pins a server that the study starts; this one names a `target`")
    of_server, of_load = share_cpus(
        frozenset(os.sched_getaffinity(0)),
        server=server or tables.server.cpus,
        load=load or tables.load.cpus,
        num_load=tables.load.processes,
    )
    chosen = {
        "server": tables.server.model_copy(update={"cpus": of_server}),
        "load": tables.load.model_copy(update={"cpus": of_load}),
    }
    return replace(study, declared=tables.model_copy(update=chosen))


def share_cpus(
    allowed: frozenset[int], *, server: str | None, load: str | None, num_load: int
) -> tuple[str | None, str | None]:
    """Return the cores of server and generator, every ``auto`` made a list, or None where none is to spare.

    ``num_load``: cores that the generator wants. What one of both names is not given to the other.

    Raises:
        StudyError: a list names what is not there.
    """
    if AUTO not in (server, load):
        return server, load
    named = [parse_cpus(text, allowed) for text in (server, load) if text is not None and text != AUTO]
    free = sorted(allowed.difference(*named))
    split = len(free) if load not in (None, AUTO) else max(0, len(free) - num_load)
    parts = {
        "server": (server, free[:split], 1 if server in (None, AUTO) else 0),
        "load": (load, free[split:], num_load if load == AUTO else 0),
    }
    enough = all(len(cores) >= wanted for _, cores, wanted in parts.values())
    chosen = [
        (format_cpus(cores) if enough else None) if asked == AUTO else asked
        for asked, cores, _ in parts.values()
    ]
    return chosen[0], chosen[1]


@contextlib.contextmanager
def pinned(cpus: frozenset[int] | None) -> Iterator[None]:
    """Let children that are started inside inherit an affinity; threads of this process keep theirs."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
