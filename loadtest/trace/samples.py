"""Samples: one row for each scheduled arrival of a run, in one Parquet file.

Rules: every arrival of the schedule has exactly one row, whatever became of it. Instants
are integer microseconds since the start that all workers share, so that
``latency = done - intended``, ``service = done - sent``, ``lateness = sent - intended``.

======== ==========================================================================
column   meaning
======== ==========================================================================
sent_us  just before the first byte went out; null where nothing was sent
done_us  the last byte of the answer, or, where ``censored``, until when it had surely
         not come (never before ``intended_us``): a lower bound, not a duration
status   of HTTP; null where no response was read to its end
error    null for an answer that can be used; else what went wrong, in a few words
censored true where the wait ended before an answer did: ``timeout``, ``interrupted``,
         ``worker lost``, ``not sent``
tokens   given to the encoder, as the server counted them
*_ms     the server's own split; null where it gave none
answer   compact JSON of the output without its usage; for an embedding the row of
         its vector in the file of its task (see ``embeddings.py``)
======== ==========================================================================

A failed request is never a fast answer: whoever computes latencies keeps to rows whose
``error`` is null, and takes censored rows as lower bounds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "samples.parquet"

SCHEMA = pl.Schema(
    {
        "i": pl.Int64(),
        "item": pl.String(),
        "task": pl.String(),
        "language": pl.String(),
        "variant": pl.String(),
        "arm": pl.String(),
        "replicate": pl.Int32(),
        "intended_us": pl.Int64(),
        "sent_us": pl.Int64(),
        "done_us": pl.Int64(),
        "status": pl.Int16(),
        "error": pl.String(),
        "censored": pl.Boolean(),
        "tokens": pl.Int32(),
        "tokenize_ms": pl.Float64(),
        "queue_ms": pl.Float64(),
        "infer_ms": pl.Float64(),
        "decode_ms": pl.Float64(),
        "total_ms": pl.Float64(),
        "answer": pl.String(),
    }
)

CUT_SHORT = ("interrupted", "worker lost", "not sent")
"""Errors of arrivals whose end the run did not live to see; a run that has one is not valid."""

BAD_ANSWER = "bad answer: "
"""How an error begins where a reply came whole, but was no answer to what was asked."""

_NEVER_NULL = ("i", "item", "task", "language", "arm", "replicate", "intended_us", "done_us", "censored")


class SamplesError(Exception):
    """A samples file is missing, cut short, or of another make; the sentence says what to do."""


def write_samples(run_dir: Path, frame: pl.DataFrame) -> Path:
    """Write the samples of a run, sorted by ``i``, and return the file's path.

    Raises:
        SamplesError: a column is missing, of another type, or null where it may not be.
    """
    path = run_dir / FILE_NAME
    _check(frame, path)
    frame.select(SCHEMA.names()).sort("i").write_parquet(path, compression="zstd", statistics=True)
    return path


def read_samples(run_dir: Path) -> pl.DataFrame:
    """Return the samples of a run, one row an arrival, sorted by ``i``; columns of ``SCHEMA``.

    Raises:
        SamplesError: there is no samples file, it is damaged, or it is of another make.
    """
    path = run_dir / FILE_NAME
    if not path.is_file():
        raise SamplesError(f"{path} is not there. Is {run_dir} the folder of a finished run?")
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SamplesError(f"{path} cannot be read ({error}). Run the measurement again.") from error
    _check(frame, path)
    return frame


def _check(frame: pl.DataFrame, path: Path) -> None:
    missing = [name for name in SCHEMA.names() if name not in frame.columns]
    if missing:
        raise SamplesError(
            f"{path} lacks the columns {', '.join(missing)}; it is no samples file of this version."
        )
    wrong = [name for name, dtype in SCHEMA.items() if frame.schema[name] != dtype]
    if wrong:
        found = ", ".join(f"{name} {frame.schema[name]} instead of {SCHEMA[name]}" for name in wrong)
        raise SamplesError(f"{path} has columns of another type: {found}.")
    null = [name for name in _NEVER_NULL if frame[name].null_count()]
    if null:
        raise SamplesError(f"{path} has gaps in the columns {', '.join(null)}, which always have a value.")
    if frame["i"].n_unique() != frame.height:
        raise SamplesError(f"{path} has more than one row for an arrival; every arrival has exactly one.")
