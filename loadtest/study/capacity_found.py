"""What a sweep says of each arm's capacity, and of their ratio, for the record. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.analysis.capacity import MIN_INTERVAL_RUNS, capacity, capacity_ratio
from loadtest.analysis.equivalence import Direction, pairs_needed, verdict_of
from loadtest.analysis.interval import log_student_interval
from loadtest.report.study_record import (
    DIFFERENT,
    Capacity,
    Comparison,
    Correction,
    Margin,
    Probe,
    VerdictWord,
)
from loadtest.study.capacity_search import Swept, block_of, goodput_of, latency_of
from loadtest.study.comparisons import interval_of
from loadtest.study.measures import Measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.analysis.interval import Interval
    from loadtest.study.capacity_search import Target
    from loadtest.study.made import Probed
    from loadtest.study.study_file import StudyFile

_LEVEL = 0.95
NOT_FOUND = "not found: a search's own probes"


def capacities(swept: Swept, target: Target) -> tuple[Capacity, ...]:
    """Return each arm's capacity, for the record."""
    return tuple(_capacity(arm, swept, target) for arm in swept.blocks if swept.blocks[arm])


def probed_so_far(probed: Sequence[Probed], target: Target) -> tuple[Capacity, ...]:
    """Return the rates that a search has probed, by arm; probes that were not valid are left out."""
    valid = [one for one in probed if one.summary.valid]
    arms = dict.fromkeys(one.arm for one in valid)
    of = {arm: [one for one in valid if one.arm == arm] for arm in arms}
    seen = Swept(
        blocks={arm: tuple(block_of(one.summary, one.rate_per_s) for one in of[arm]) for arm in arms},
        latencies_s={arm: tuple(latency_of(one.summary, target.share) for one in of[arm]) for arm in arms},
        goodputs_per_s={arm: tuple(goodput_of(one.summary) for one in of[arm]) for arm in arms},
        reason="",
    )
    return tuple(
        Capacity(
            arm=arm,
            objective=target.text,
            objective_s=target.limit_s,
            percentile=target.share,
            rate_per_s=None,
            interval=None,
            method=NOT_FOUND,
            probes=_probes(arm, seen),
        )
        for arm in arms
    )


def ratio(swept: Swept, target: Target, declared: StudyFile, arm: str) -> Comparison | None:
    """Compare an arm's capacity with the reference's over the probes that they share."""
    ours, theirs = swept.blocks.get(arm), swept.blocks.get(declared.reference)
    if not ours or not theirs:
        return None
    alpha = (1 - declared.design.confidence) / len(declared.compared)
    found = capacity_ratio(ours, theirs, target=target.share, alpha=alpha)
    margins = Measure.CAPACITY.margins(declared.design.margins)
    word = VerdictWord.INCONCLUSIVE
    if found.interval is not None and found.equivalence_interval is not None:
        verdict = verdict_of(
            found.interval,
            found.equivalence_interval,
            margins=margins,
            direction=Direction.LARGER_IS_FASTER,
        )
        word = VerdictWord(verdict.value)
    several = f"{arm}: " if len(declared.compared) > 1 else ""
    return Comparison(
        name=f"{several}capacity under {target.text}",
        measure=Measure.CAPACITY.value,
        arm=arm,
        reference=declared.reference,
        primary=True,
        log_ratio=found.log_ratio,
        interval=interval_of(found.interval),
        equivalence_interval=interval_of(found.equivalence_interval),
        margin=Margin(low=margins.low, high=margins.high),
        correction=Correction.SEQUENCE,
        marked=word in DIFFERENT,
        word=word,
        num_pairs=found.num_pairs,
        num_pairs_needed=(
            pairs_needed(found.log_ratio, sd=found.sd, margins=margins, alpha=alpha)
            if word is VerdictWord.INCONCLUSIVE and found.log_ratio is not None and found.sd is not None
            else None
        ),
    )


def _capacity(arm: str, swept: Swept, target: Target) -> Capacity:
    blocks = swept.blocks[arm]
    found = capacity(blocks, target=target.share)
    return Capacity(
        arm=arm,
        objective=target.text,
        objective_s=target.limit_s,
        percentile=target.share,
        rate_per_s=found.rate_per_s,
        interval=interval_of(found.interval),
        method=found.method.value,
        probes=_probes(arm, swept),
    )


def _probes(arm: str, swept: Swept) -> tuple[Probe, ...]:
    rates = sorted({block.rate_per_s for block in swept.blocks[arm]})
    return tuple(_probe(rate, arm, swept) for rate in rates)


def _probe(rate_per_s: float, arm: str, swept: Swept) -> Probe:
    """Put one arm's runs at one rate together: means by factors, with intervals over runs."""
    at = [i for i, block in enumerate(swept.blocks[arm]) if block.rate_per_s == rate_per_s]
    blocks = [swept.blocks[arm][i] for i in at]
    latency_s, of_latency = _mean([swept.latencies_s[arm][i] for i in at])
    goodput_per_s, of_goodput = _mean([swept.goodputs_per_s[arm][i] for i in at])
    return Probe(
        rate_per_s=rate_per_s,
        num_runs=len(at),
        latency_s=latency_s,
        interval=interval_of(of_latency),
        goodput_per_s=goodput_per_s,
        goodput_interval=interval_of(of_goodput),
        attained_ratio=sum(block.num_in_time for block in blocks)
        / sum(block.num_requests for block in blocks),
    )


def _mean(values: Sequence[float | None]) -> tuple[float | None, Interval | None]:
    known = [value for value in values if value]
    if len(known) < len(values):
        return None, None
    mean, interval = log_student_interval(known, _LEVEL)
    return mean, interval if len(known) >= MIN_INTERVAL_RUNS else None
