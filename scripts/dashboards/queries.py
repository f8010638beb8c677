"""PromQL as the dashboards write it: few shapes, each in one place.

Rules: every selector of a scraped metric has a job and an instance matcher; counters are
rated over ``$__rate_interval`` and summed. Source: conventions of grafana/dashboard-linter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

SERVICE = 'job=~"$job", instance=~"$instance"'
# Recorded series are summed over instances.
JOB = 'job=~"$job"'
LOAD = 'job=~"$load_job", instance=~"$load_instance"'
DCGM = 'job=~"$dcgm_job", instance=~"$dcgm_instance", gpu=~"$gpu"'
WINDOW = "$__rate_interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a panel. ``instant``: its last value only; ``heatmap``: one series a bucket.

    ``exemplars``: with single requests as dots, which carry their trace id.
    """

    expr: str
    legend: str
    instant: bool = False
    heatmap: bool = False
    exemplars: bool = False


def select(metric: str, where: str = "", *, target: str = SERVICE) -> str:
    """Select a metric's series of the chosen targets."""
    return f"{metric}{{{target}{', ' if where else ''}{where}}}"


def rate(metric: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Sum the increase of a counter in a second."""
    return f"sum{_by(by)} (rate({select(metric, where, target=target)}[{WINDOW}]))"


def increase(metric: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Sum the increase of a counter in one step of the panel."""
    return f"sum{_by(by)} (increase({select(metric, where, target=target)}[{WINDOW}]))"


def mean(histogram: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Divide what a histogram summed by what it counted."""
    total = rate(f"{histogram}_sum", by, where, target=target)
    return f"{total} / {rate(f'{histogram}_count', by, where, target=target)}"


def quantile(ratio: float, histogram: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Estimate a quantile within the bucket that it falls into."""
    labels = "le" if not by else f"le, {by}"
    return f"histogram_quantile({ratio:g}, {rate(f'{histogram}_bucket', labels, where, target=target)})"


def total(gauge: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Sum a gauge."""
    return f"sum{_by(by)} ({select(gauge, where, target=target)})"


def largest(gauge: str, by: str = "", where: str = "", *, target: str = SERVICE) -> str:
    """Take a gauge's largest value."""
    return f"max{_by(by)} ({select(gauge, where, target=target)})"


def ranged(query: str, legend: str = "") -> Query:
    """Ask for a range of times."""
    return Query(expr=query, legend=legend)


def latest(query: str, legend: str = "") -> Query:
    """Ask for the last value."""
    return Query(expr=query, legend=legend, instant=True)


def buckets(histogram: str, where: str = "", *, target: str = SERVICE) -> Query:
    """Ask for a histogram's buckets, as a heat map wants them."""
    return Query(expr=rate(f"{histogram}_bucket", "le", where, target=target), legend="{{le}}", heatmap=True)


def with_exemplars(query: Query) -> Query:
    """Show single requests beside what is asked for."""
    return replace(query, exemplars=True)


def quantiles(histogram: str, where: str = "", *, prefix: str = "", target: str = SERVICE) -> list[Query]:
    """Ask for the median, the 95th and the 99th percentile."""
    return [
        ranged(quantile(ratio, histogram, where=where, target=target), f"{prefix}{name}")
        for ratio, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
