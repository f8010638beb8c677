"""The mean time split of requests, all together and parted by percentiles of latency.

Rules: a band lies between two percentiles that the number of requests supports; the last one reaches to
the slowest request. Parts add up to the mean latency of the band's requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from loadtest.analysis.percentiles import enough
from loadtest.analysis.split import BAND_EDGES, BandSplit, by_band
from loadtest.report.frames import split_of
from loadtest.report.records import Band, TimeSplit

if TYPE_CHECKING:
    from loadtest.analysis.split import Split

SERVER_PARTS = ("network", "tokenize", "queue", "infer", "decode", "server_other")


def time_split(answered: pl.DataFrame) -> TimeSplit | None:
    """Return the mean parts of answered requests; None where there are none."""
    if not answered.height:
        return None
    parts = split_of(answered)
    (whole,) = by_band(parts, (0.0, 1.0))
    return _record(whole, has_server_parts=_has_server_parts(parts))


def time_bands(frame: pl.DataFrame) -> tuple[Band, ...]:
    """Return the bands of the answered requests of ``frame``, quickest first."""
    answered = frame.filter(pl.col("answered"))
    if not answered.height:
        return ()
    edges = [edge for edge in BAND_EDGES if edge in {0.0, 1.0} or enough(answered.height, edge)]
    parts = split_of(answered)
    known = _has_server_parts(parts)
    return tuple(
        Band(low=band.low, high=band.high, split=_record(band, has_server_parts=known))
        for band in by_band(parts, edges)
    )


def _has_server_parts(parts: Split) -> bool:
    """Whether any answer carried a split: only then is a part that took no time a zero."""
    return bool((parts.unexplained == 0).any())


def _record(band: BandSplit, *, has_server_parts: bool) -> TimeSplit:
    server = {f"{name}_s": band.parts[name] if has_server_parts else None for name in SERVER_PARTS}
    return TimeSplit(
        n=band.n,
        lateness_s=band.parts["lateness"],
        unexplained_s=band.parts["unexplained"],
        latency_s=band.latency,
        **server,
    )
