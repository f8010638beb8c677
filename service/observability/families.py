"""Metrics as plain values: to be sent to another process, added up over processes, and written out.

Rules: counters, histograms and summaries add up, their moments of creation are the oldest; of a gauge the
largest counts (what only one process knows is 0 elsewhere), but memory and open files add up, and of
limits and start times the least counts. A bucket keeps the latest exemplar. A process that is gone goes
on counting in what it had counted; its gauges go with it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import CollectorRegistry

_CUMULATIVE = frozenset({"counter", "histogram", "summary"})
_CREATED = "_created"
_SUMMED_GAUGES = frozenset(
    {"process_resident_memory_bytes", "process_virtual_memory_bytes", "process_open_fds"}
)
_LEAST_GAUGES = frozenset({"process_start_time_seconds", "process_max_fds"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One series' value. ``exemplar``: labels, value and epoch seconds of an observation in the bucket."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float
    exemplar: tuple[dict[str, str], float, float | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric with all of its series."""

    name: str
    kind: str
    said: str
    samples: tuple[Sample, ...]


Families = tuple[Family, ...]


def families_of(registry: CollectorRegistry) -> Families:
    """Read a registry."""
    return tuple(
        Family(
            name=metric.name,
            kind=metric.type,
            said=metric.documentation,
            samples=tuple(
                Sample(
                    name=one.name,
                    labels=tuple(one.labels.items()),
                    value=float(one.value),
                    exemplar=None
                    if one.exemplar is None
                    else (one.exemplar.labels, one.exemplar.value, _seconds(one.exemplar.timestamp)),
                )
                for one in metric.samples
            ),
        )
        for metric in registry.collect()
    )


def add_up(readings: Iterable[Families]) -> Families:
    """Make one reading of those of several processes."""
    families: dict[str, Family] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]] = {}
    for family in (family for reading in readings for family in reading):
        families.setdefault(family.name, family)
        into = samples.setdefault(family.name, {})
        for sample in family.samples:
            key = (sample.name, sample.labels)
            before = into.get(key)
            into[key] = sample if before is None else _joined(family, before, sample)
    return tuple(replace(family, samples=tuple(samples[name].values())) for name, family in families.items())


def cumulative(reading: Families) -> Families:
    """Keep what still counts when the process is gone."""
    return tuple(family for family in reading if family.kind in _CUMULATIVE)


def to_bytes(reading: Families) -> bytes:
    """Write a reading down for another process."""
    return json.dumps(
        [
            [one.name, one.kind, one.said, [[s.name, s.labels, s.value, s.exemplar] for s in one.samples]]
            for one in reading
        ]
    ).encode()


def from_bytes(written: bytes) -> Families:
    """Read what ``to_bytes`` wrote."""
    return tuple(
        Family(
            name=name,
            kind=kind,
            said=said,
            samples=tuple(
                Sample(
                    name=own,
                    labels=tuple((key, text) for key, text in labels),
                    value=value,
                    exemplar=None if exemplar is None else tuple(exemplar),
                )
                for own, labels, value, exemplar in samples
            ),
        )
        for name, kind, said, samples in json.loads(written)
    )


def exposition(reading: Families, accept: str) -> tuple[bytes, str]:
    """Return the body and content type that suit an Accept header; OpenMetrics where asked."""
    encoder, content_type = choose_encoder(accept)
    return encoder(_Read(reading)), content_type


class _Read(Collector):
    """What the library writes out."""

    def __init__(self, reading: Families) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        for family in self._reading:
            metric = Metric(family.name, family.said, family.kind)
            for one in family.samples:
                metric.add_sample(one.name, dict(one.labels), one.value, exemplar=_exemplar(one))
            yield metric


def _joined(family: Family, one: Sample, other: Sample) -> Sample:
    if family.kind in _CUMULATIVE:
        if one.name.endswith(_CREATED):
            return replace(one, value=min(one.value, other.value))
        return replace(one, value=one.value + other.value, exemplar=_latest(one.exemplar, other.exemplar))
    if family.name in _SUMMED_GAUGES:
        return replace(one, value=one.value + other.value)
    choose = min if family.name in _LEAST_GAUGES else max
    known = [value for value in (one.value, other.value) if not math.isnan(value)]
    return replace(one, value=choose(known, default=math.nan))


def _latest(one: Any, other: Any) -> Any:
    both = [exemplar for exemplar in (one, other) if exemplar is not None]
    return max(both, key=lambda exemplar: exemplar[2] or 0.0, default=None)


def _exemplar(sample: Sample) -> Exemplar | None:
    if sample.exemplar is None:
        return None
    labels, value, timestamp = sample.exemplar
    return Exemplar(labels, value, timestamp)


def _seconds(timestamp: Any) -> float | None:
    return None if timestamp is None else float(timestamp)
