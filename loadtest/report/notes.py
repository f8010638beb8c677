"""What a reader must know before any figure: made-up weights, sample text, no open loop, no steady state."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.datasets import library
from loadtest.report.course import course_notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from loadtest.report.run_files import RunFiles
    from loadtest.trace.schedule import Header

SYNTHETIC = (
    "The weights are synthetic (seeded random numbers): answers mean nothing and scores measure nothing. "
    "Times are those of the true architecture."
)
SAMPLE_TEXT = (
    "The requests are the bundled sample, text written for this project in the benchmark's formats; scores "
    "on it cannot be compared with published ones."
)
UNCOMMITTED = (
    "The load tester ran from a checkout with uncommitted changes: the commit under provenance does not say "
    "what ran."
)
NO_OPEN_LOOP = {
    "offline": (
        "Offline: every item was due at once, so latency is a place in the queue and no verdict on speed; "
        "look at throughput over the makespan."
    ),
    "closed": (
        "Closed loop: a request waited for the one before it, so a slow server was asked less often; latency "
        "here cannot be compared with an open loop's."
    ),
}


def notes_of(runs: Sequence[RunFiles]) -> tuple[str, ...]:
    """Return the notes of these runs, each once."""
    return (*dict.fromkeys(note for run in runs for note in _notes(run)), *course_notes(runs))


def _notes(run: RunFiles) -> Iterator[str]:
    if any(variant.synthetic for variant in run.info.variants):
        yield SYNTHETIC
    if run.header is not None and is_sample_text(run.header):
        yield SAMPLE_TEXT
    if run.mode in NO_OPEN_LOOP:
        yield NO_OPEN_LOOP[run.mode]
    if run.info.environment.get("dirty"):
        yield UNCOMMITTED
    yield from run.problems


def is_sample_text(header: Header) -> bool:
    """Whether any source of a trace is, byte for byte, a file of the bundled sample."""
    bundled = Path(library.__file__).parent / library.BUNDLED / "data"
    return any(_is_file(bundled / source.file, source.sha256) for source in header.sources)


def _is_file(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError:
        return False
