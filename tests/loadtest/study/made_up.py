"""Studies without servers: summaries of made-up runs, in the records that real ones fill."""

from __future__ import annotations

from loadtest.report.records import Distribution, Errors, Goodput, Group, Summary, Tokens

STUDY = """
name = "made-up"
question = "Is the arm as fast as the reference?"
seed = 11
reference = "old"
[server]
target = "http://127.0.0.1:9"
[arms.old]
file = "old.toml"
[arms.new]
file = "new.toml"
[trace]
tasks = "xnli"
languages = "en,sw"
limit = 2
"""


def distribution(p50: float | None, p95: float | None = None, mean: float | None = None) -> Distribution:
    return Distribution(n=1000, mean=mean, p50=p50, p95=p95, p99=p95, max=p95)


def group(
    p50: float | None = None,
    p95: float | None = None,
    *,
    inputs_per_s: float | None = None,
    in_time: float | None = None,
    tokens: float | None = None,
    service_s: float | None = None,
) -> Group:
    goodput = None if in_time is None else Goodput(objective_s=0.2, per_s=in_time * 10, ratio=in_time)
    return Group(
        n=1000,
        num_answered=1000,
        num_censored=0,
        latency_s=distribution(p50, p95),
        service_s=distribution(p50, p95, service_s),
        lateness_s=distribution(0.001),
        throughput_per_s=inputs_per_s,
        offered_per_s=None,
        inputs_per_s=inputs_per_s,
        tokens_per_s=None if inputs_per_s is None else inputs_per_s * 40,
        errors=Errors(num=0, ratio=0.0, by_kind={}),
        tokens=Tokens(total=1, mean=tokens, max=None),
        split=None,
        goodput=goodput,
    )


def summary(overall: Group, *, reasons: tuple[str, ...] = (), **groups: dict[str, Group]) -> Summary:
    return Summary(
        valid=not reasons,
        reasons=reasons,
        checks=(),
        notes=(),
        deviations=(),
        environment={},
        command=None,
        trace={},
        variants=(),
        makespan_s=1.0,
        duration_s=1.0,
        overall=overall,
        by_task=groups.get("by_task", {}),
        by_language=groups.get("by_language", {}),
        by_task_language={},
        by_arm={},
    )
