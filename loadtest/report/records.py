"""What `summary.json` holds, as typed records; their JSON Schema is published beside them.

Rules: a figure that cannot be given honestly is null, never a guess. Latency is
`done - intended` over answered requests, with requests that never finished counted as
lower bounds; errors are counted apart and never enter a percentile. Times are seconds,
rates are a second, ratios lie in 0..1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

SCHEMA: Literal["xlmr-summary/1"] = "xlmr-summary/1"

Seconds = Annotated[float, Field(description="seconds")]
PerSecond = Annotated[float, Field(ge=0, description="a second")]
Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """A frozen record that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True)


class Distribution(Record):
    """One duration over many requests; a percentile is null where fewer than ten requests lie beyond it."""

    n: Count
    mean: Seconds | None
    p50: Seconds | None
    p95: Seconds | None
    p99: Seconds | None
    max: Seconds | None
    lower_bounds: tuple[Literal["mean", "p50", "p95", "p99", "max"], ...] = Field(
        default=(),
        description="figures that unfinished requests reach into: the true value is at least this",
    )


class TimeSplit(Record):
    """Mean seconds of each part of a request's time; the parts add up to the mean latency of its requests.

    ``network_s`` is what the client saw and the server's own total does not explain. ``server_other_s`` is
    the server's total without its four stages. All but lateness and network are null where the server
    reported no split.
    """

    n: Count
    lateness_s: Seconds
    network_s: Seconds | None
    tokenize_s: Seconds | None
    queue_s: Seconds | None
    infer_s: Seconds | None
    decode_s: Seconds | None
    server_other_s: Seconds | None
    unexplained_s: Seconds = Field(description="service time of answers without a split to believe")
    latency_s: Seconds


class Tokens(Record):
    """Tokens that the encoder was given, as the server counted them, special tokens included."""

    total: Count
    mean: float | None
    max: Count | None


class Quality(Record):
    """How right the answers given under load were; ``score`` is null where nothing could be scored.

    A task's score is the mean over its languages and the overall one the mean over tasks, as the benchmark
    averages; ``languages_missing`` are those of the benchmark that had no score here.
    """

    metric: str
    score: Ratio | None
    num_scored: Count = Field(description="distinct items")
    num_without_gold: Count
    num_unanswered: Count = Field(description="among the scored, as wrong")
    num_malformed: Count = Field(description="answers of the wrong shape, scored as wrong")
    parts: dict[str, float] = Field(default_factory=dict, description="what the score is made of")
    languages_missing: tuple[str, ...] = ()
    correct_per_s: PerSecond | None = Field(
        description="right answers within the latency objective (any latency where there is none)"
    )


class Mismatch(Record):
    """Answers that differ from those of the same items given by the unloaded server."""

    num_compared: Count
    num_without_reference: Count
    num_different: Count
    ratio: Ratio | None
    largest_difference: float = Field(ge=0, description="between numbers of answers that decide the same")


class Goodput(Record):
    """Answered requests within the latency objective."""

    objective_s: Seconds
    per_s: PerSecond | None
    ratio: Ratio | None = Field(description="of the scheduled arrivals")


class Errors(Record):
    """Requests that were refused or failed, by status; they are no latency sample."""

    num: Count
    ratio: Ratio | None
    by_kind: dict[str, Count]


class Group(Record):
    """All figures of one group of requests (the whole run, a task, a language, an arm)."""

    n: Count = Field(description="scheduled arrivals")
    num_answered: Count
    num_censored: Count = Field(description="unfinished when the run ended or timed out: lower bounds")
    latency_s: Distribution
    service_s: Distribution
    lateness_s: Distribution
    throughput_per_s: PerSecond | None = Field(description="answered requests over the makespan")
    offered_per_s: PerSecond | None = Field(description="scheduled arrivals over the schedule's duration")
    inputs_per_s: PerSecond | None
    tokens_per_s: PerSecond | None
    errors: Errors
    tokens: Tokens
    split: TimeSplit | None
    goodput: Goodput | None = None
    quality: Quality | None = None
    mismatch: Mismatch | None = None


class Band(Record):
    """The mean time split of the requests between two percentiles of latency."""

    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)
    split: TimeSplit


class Check(Record):
    """One test of the run itself, with what was measured and what is allowed."""

    run: str | None = Field(default=None, description="the run's folder, where a study has several")
    name: str
    passed: bool | None = Field(description="null: could not be measured")
    measured: str
    allowed: str
    sentence: str
    value: float | None = Field(
        default=None, description="what was held against a bound: seconds, or a share; null for other checks"
    )


class ObjectiveVerdict(Record):
    """Whether one declared objective was met, and by how much."""

    objective: str
    met: bool | None = Field(description="null: too few requests to tell")
    measured: float | None
    allowed: float
    unit: str
    sentence: str


class ServedVariant(Record):
    """A variant as the target described it when the run began."""

    name: str
    tasks: tuple[str, ...]
    revision: str | None = None
    synthetic: bool = False


class ArmSummary(Record):
    """One arm's figures; a run has one arm, a study several."""

    overall: Group
    by_task: dict[str, Group]
    by_language: dict[str, Group]
    by_task_language: dict[str, dict[str, Group]]
    bands: tuple[Band, ...]


class Summary(Record):
    """The whole of `summary.json`; written for invalid runs too."""

    schema_: Literal["xlmr-summary/1"] = Field(default=SCHEMA, alias="schema")
    valid: bool
    reasons: tuple[str, ...] = Field(description="why the run is not valid; empty when it is")
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = Field(description="what a reader must know: synthetic weights, sample text")
    deviations: tuple[str, ...] = Field(description="where requests were not formed as the benchmark does")
    environment: dict[str, JsonValue]
    started: datetime | None = Field(default=None, description="of the first run, UTC")
    command: str | None
    trace: dict[str, JsonValue]
    variants: tuple[ServedVariant, ...]
    makespan_s: Seconds | None
    duration_s: Seconds | None
    overall: Group
    by_task: dict[str, Group]
    by_language: dict[str, Group]
    by_task_language: dict[str, dict[str, Group]]
    by_arm: dict[str, ArmSummary]
    objectives: tuple[ObjectiveVerdict, ...] = ()
