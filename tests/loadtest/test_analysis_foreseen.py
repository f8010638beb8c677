"""Objectives held against what is scheduled: a gate that can never fail is told before the run."""

from __future__ import annotations

import pytest

from loadtest.analysis.foreseen import Planned, foresee
from loadtest.analysis.objectives import ObjectiveError, parse_objectives
from loadtest.analysis.percentiles import enough, least


def kind(task: str, language: str, n: int) -> Planned:
    labels = {"task": task, "language": language, "arm": "a", "variant": f"v.{task}"}
    return Planned(labels=tuple(labels.items()), n=n)


PLANNED = (kind("xnli", "sw", 200), kind("xnli", "en", 100), kind("xquad", "en", 50))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p95<200ms", ()),
        ("latency{task=xnli,language=sw} p95<1s", ()),
        ("latency{language=en} p95<1s", ("takes 200 requests, and 150 of this kind are scheduled",)),
        ("latency{variant=v.xquad} p50<1s", ()),
        ("p99<1s", ("a p99 takes 1,000 requests, and 350 of this kind are scheduled",)),
        ("mean<1s,max<1s,error_rate<1%,throughput>=1/s", ()),
        ("p50<1s,goodput>=1/s", ()),
        ("quality{task=xquad} f1>=0.5", ()),
    ],
)
def test_what_too_few_requests_are_scheduled_for(text: str, said: tuple[str, ...]) -> None:
    found = foresee(parse_objectives(text), PLANNED)
    assert len(found) == len(said)
    assert all(part in sentence for part, sentence in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("latency{task=xnly} p95<1s", "has the task 'xnly'; there are xnli, xquad."),
        ("quality{task=panx} f1>=0.5", "has the task 'panx'"),
        ("latency{arm=b} p50<1s", "has the arm 'b'; there is a."),
        ("error_rate{task=xquad,language=sw}<1%", "has task=xquad, language=sw together"),
        ("goodput>=5/s", "name it beside it, such as p95<200ms"),
    ],
)
def test_what_can_never_be_told_is_a_mistake(text: str, says: str) -> None:
    with pytest.raises(ObjectiveError) as caught:
        foresee(parse_objectives(text), PLANNED)
    assert says in str(caught.value)


@pytest.mark.parametrize(("p", "n"), [(0.5, 20), (0.9, 100), (0.95, 200), (0.99, 1000), (0.999, 10_000)])
def test_the_least_number_of_samples_is_just_enough(p: float, n: int) -> None:
    assert least(p) == n
    assert enough(n, p)
    assert not enough(n - 1, p)
