"""What a study hands to the report: `study.json`, typed; its JSON Schema is published beside it.

Rules: the study decides and this record carries; the report draws what it is given and computes no
verdict. Effects are natural logarithms of ratios `arm / reference`, so that 0 means no difference.
Intervals are two-sided. A figure that a study did not measure is null or left out, never invented.
Paths are relative to the file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from loadtest.report.records import PerSecond, Ratio, Record, Seconds

STUDY_SCHEMA: Literal["xlmr-study/1"] = "xlmr-study/1"

LogRatio = Annotated[float, Field(description="ln(arm / reference)")]


class VerdictWord(StrEnum):
    """What a comparison says; `better` and `worse` are of quality, the others of speed."""

    FASTER = "faster"
    SLOWER = "slower"
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


DIFFERENT = (VerdictWord.FASTER, VerdictWord.SLOWER)


class Phase(StrEnum):
    """What a run was made for."""

    PAIR = "pair"
    AA = "aa"
    CONTROL = "control"
    CAPACITY = "capacity"
    OFFLINE = "offline"
    UNLOADED = "unloaded"


class Correction(StrEnum):
    """How a p-value was corrected for the number of comparisons beside it."""

    NONE = "none"
    SEQUENCE = "fixed sequence"
    HOLM = "Holm"
    BENJAMINI_HOCHBERG = "Benjamini-Hochberg"


class Interval(Record):
    """Both ends of an interval, and how often its method covers the truth."""

    low: float
    high: float
    confidence: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _ordered(self) -> Interval:
        if self.low > self.high:
            raise ValueError("an interval's low end lies above its high end")
        return self


class Margin(Record):
    """The log ratios that were declared too small to matter before anything was measured."""

    low: LogRatio
    high: LogRatio

    @model_validator(mode="after")
    def _around_zero(self) -> Margin:
        if not self.low < 0 < self.high:
            raise ValueError("a margin must hold 0 strictly inside it")
        return self


class Verdict(Record):
    """The study's answer: one word, one sentence for the strip, one paragraph with its numbers."""

    word: VerdictWord
    sentence: str
    paragraph: str


class StudyArm(Record):
    """One side of the comparison."""

    name: str
    description: str = ""
    synthetic: bool = False


class StudyRun(Record):
    """One replicate: a drained run of a trace, in the order in which the study made them."""

    path: str
    arm: str
    phase: Phase
    replicate: int = Field(ge=0, description="its number within arm, phase and rate")
    pair: int | None = None
    restart: int | None = Field(default=None, description="which start of the server it ran against")
    rate_per_s: PerSecond | None = None
    load_ratio: float | None = Field(default=None, gt=0, description="of the reference arm's capacity")
    valid: bool = True
    reasons: tuple[str, ...] = ()


class Comparison(Record):
    """One arm against the reference in one measure, over pairs of runs.

    ``interval``: for the reader (95 %). ``equivalence_interval``: the one that must lie inside the margin
    (90 % for a test at 5 %).
    """

    name: str
    measure: str = Field(description="what is compared, e.g. p95 latency")
    arm: str
    reference: str
    task: str | None = None
    language: str | None = None
    load_ratio: float | None = Field(default=None, gt=0)
    primary: bool = False
    log_ratio: LogRatio | None
    interval: Interval | None
    equivalence_interval: Interval | None = None
    margin: Margin | None = None
    pair_log_ratios: tuple[LogRatio, ...] = ()
    p_value: Ratio | None = None
    p_equivalence: Ratio | None = Field(default=None, description="that it lies within the margin, by TOST")
    correction: Correction = Field(default=Correction.NONE, description="of both p-values")
    marked: bool = Field(default=False, description="still different from 0 after the correction")
    word: VerdictWord
    num_pairs: int = Field(ge=0)
    num_pairs_needed: int | None = Field(default=None, description="pairs that would settle it")


class PositiveControl(Record):
    """A deliberately slower arm: a study that does not find it cannot call anything equivalent."""

    planted_ratio: float = Field(gt=0, description="how much longer the planted arm takes, 1.05 = 5 %")
    found: bool
    comparison: Comparison


class Probe(Record):
    """All replicates of one arm at one offered rate."""

    rate_per_s: PerSecond
    num_runs: int = Field(ge=1)
    latency_s: Seconds | None = Field(description="at the objective's percentile")
    interval: Interval | None = None
    goodput_per_s: PerSecond | None = None
    goodput_interval: Interval | None = None
    attained_ratio: Ratio | None = Field(default=None, description="requests within the objective")
    quality: Ratio | None = None


class Capacity(Record):
    """The highest rate of one arm that meets the objective."""

    arm: str
    objective: str = Field(description="as it was declared, e.g. p95<200ms")
    objective_s: Seconds
    percentile: float = Field(gt=0, lt=1)
    rate_per_s: PerSecond | None
    interval: Interval | None
    method: str
    probes: tuple[Probe, ...]


class Offline(Record):
    """Everything sent at once: inputs and tokens over the makespan.

    An interval is null with one run, and where a run answered nothing, or counted no tokens.
    """

    arm: str
    num_runs: int = Field(ge=1)
    inputs_per_s: PerSecond
    inputs_interval: Interval | None = None
    tokens_per_s: PerSecond
    tokens_interval: Interval | None = None


class TokenPoint(Record):
    """Mean tokens and mean service time of one language (and task)."""

    language: str
    task: str | None = None
    tokens: float = Field(ge=0)
    service_s: Seconds
    n: int = Field(ge=1)


class TokenFitWithout(Record):
    """The same fit without the one cell that is farthest from the others in tokens."""

    language: str
    r_squared: Ratio


class TokenFit(Record):
    """How far tokens explain the time: service time on tokens, one point a cell."""

    arm: str
    intercept_s: Seconds
    slope_s: float = Field(description="seconds a token")
    slope_interval: Interval | None = None
    r_squared: Ratio
    without: TokenFitWithout | None = None
    points: tuple[TokenPoint, ...]


class QualityDifference(Record):
    """Scores of the same items in both arms, paired by item."""

    arm: str = Field(default="", description="whose score it is, beside the reference's")
    task: str
    metric: str
    n: int = Field(ge=0)
    score: Ratio | None
    reference_score: Ratio | None
    difference: float | None = Field(description="score - reference score")
    interval: Interval | None = None
    p_value: Ratio | None = None
    correction: Correction = Correction.NONE
    word: VerdictWord


class StudyRecord(Record):
    """The whole of `study.json`."""

    schema_: Literal["xlmr-study/1"] = Field(default=STUDY_SCHEMA, alias="schema")
    name: str
    question: str
    valid: bool
    reasons: tuple[str, ...] = ()
    verdict: Verdict
    command: str | None = None
    reference: str
    arms: tuple[StudyArm, ...]
    runs: tuple[StudyRun, ...]
    comparisons: tuple[Comparison, ...] = ()
    aa: tuple[Comparison, ...] = Field(default=(), description="the same arm against itself")
    positive_control: PositiveControl | None = None
    capacities: tuple[Capacity, ...] = ()
    capacity_ratio: Comparison | None = None
    offline: tuple[Offline, ...] = ()
    quality: tuple[QualityDifference, ...] = ()
    token_fits: tuple[TokenFit, ...] = ()
    design: dict[str, JsonValue] = Field(default_factory=dict, description="pairs, margins, seeds, cores")
    environment: dict[str, JsonValue] = Field(default_factory=dict)
    deviations: tuple[str, ...] = Field(default=(), description="where the study departed from its plan")
