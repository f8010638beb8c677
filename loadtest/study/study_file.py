"""A study as its TOML file declares it: arms, server, trace, design, controls, seeds.

Everything that decides a verdict (pairs, margins, objective, controls) is declared
here before anything runs; the file's hash goes into the record. Paths are relative
to the file. ``{here}`` in a command is the file's folder, ``{out}`` the study's output
folder, ``{python}`` the running interpreter, ``{port}`` a free port of the loopback.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.study.made import Made


class StudyError(Exception):
    """The study cannot run as declared; the sentence says what to change."""


class StoppedError(StudyError):
    """The study cannot go on with its plan, and what it declares is no usage error: the sentence says why.

    ``made``: what was measured before; None where that is nothing. ``missed``: no rate met the objective.
    """

    def __init__(self, reason: str, *, made: Made | None = None, missed: bool = False) -> None:
        super().__init__(reason)
        self.made = made
        self.missed = missed


class NothingValidError(StoppedError):
    """The study cannot go on, since none of its runs is valid: the machine, not the declaration."""


class Table(BaseModel):
    """A table of the file: unknown keys are refused, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


Share = Annotated[float, Field(gt=0, lt=1)]


class ServerTable(Table):
    """How the service is started, or where one runs already."""

    command: Annotated[list[str], Field(min_length=1)] | None = None
    target: str | None = None
    cpus: str | None = None
    start_timeout_s: Annotated[float, Field(gt=0)] = 300.0

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.command is None) == (self.target is None):
            raise ValueError("give either `command` (the study starts the server) or `target` (a URL)")
        return self


class LoadTable(Table):
    """Where and how the load is generated."""

    processes: Annotated[int, Field(ge=1)] = 1
    cpus: str | None = None
    timeout_s: Annotated[float, Field(gt=0)] = 60.0
    max_inflight: Annotated[int, Field(ge=1)] = 256


class TraceTable(Table):
    """Which items are replayed."""

    data: str = "bundled"
    tasks: str = "all"
    languages: str = "all"
    limit: Annotated[int, Field(ge=1)] | None = None
    candidates: Annotated[int, Field(ge=1)] | None = None
    task_mix: str = "items"
    language_mix: str = "items"


class ArmTable(Table):
    """One arm: its arm file, and what a reader should know of it."""

    file: str
    description: str = ""


class MarginsTable(Table):
    """Ratios that are declared too small to matter: 0.05 is 5 % either way."""

    p50: Share = 0.05
    p95: Share = 0.10
    p99: Share = 0.10
    offline: Share = 0.05
    goodput: Share = 0.05
    capacity: Share = 0.05


class DesignTable(Table):
    """Pairs, restarts, loads and what is declared about them."""

    pairs: Annotated[int, Field(ge=2)] = 20
    restarts: Annotated[int, Field(ge=1)] = 10
    load_ratios: Annotated[list[Annotated[float, Field(gt=0, lt=1.5)]], Field(min_length=1)] = [0.3, 0.6, 0.8]
    primary_load_ratio: Annotated[float, Field(gt=0, lt=1.5)] = 0.6
    replicate_s: Annotated[float, Field(gt=0)] = 40.0
    law: str = "poisson:{rate}"
    offline_pairs: Annotated[int, Field(ge=0)] = 10
    unloaded_items: Annotated[int, Field(ge=1)] | None = None
    confidence: Share = 0.95
    margins: MarginsTable = MarginsTable()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.primary_load_ratio not in self.load_ratios:
            raise ValueError("`primary_load_ratio` must be one of `load_ratios`")
        if "{rate}" not in self.law:
            raise ValueError("`law` must hold {rate}, which the study fills in, such as 'poisson:{rate}'")
        if self.offline_pairs == 1:
            raise ValueError("`offline_pairs` must be 0 (none) or at least 2: one pair has no spread")
        if self.restarts > min(self.pairs, self.offline_pairs or self.pairs):
            raise ValueError("`restarts` may not exceed `pairs` or `offline_pairs`: a restart needs a pair")
        return self


class CapacityTable(Table):
    """How the reference arm's capacity is found: under an objective, or from offline throughput."""

    method: Literal["objective", "offline"] = "objective"
    objective: str = "p95<500ms"
    replicates: Annotated[int, Field(ge=1)] = 3
    replicate_s: Annotated[float, Field(gt=0)] = 20.0
    max_probes: Annotated[int, Field(ge=3)] = 10


class ControlsTable(Table):
    """What the study must get right before it may say anything of the arms."""

    aa_pairs: Annotated[int, Field(ge=0)] = 10
    positive: str | None = None
    planted_ratio: Annotated[float, Field(gt=1)] | None = None
    positive_pairs: Annotated[int, Field(ge=2)] = 6

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.positive is None) != (self.planted_ratio is None):
            raise ValueError("`positive` (an arm's name) and `planted_ratio` go together")
        return self


class StudyFile(Table):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    question: str
    seed: Annotated[int, Field(ge=0)]
    reference: str
    server: ServerTable
    arms: Annotated[dict[str, ArmTable], Field(min_length=2)]
    load: LoadTable = LoadTable()
    trace: TraceTable = TraceTable()
    design: DesignTable = DesignTable()
    capacity: CapacityTable = CapacityTable()
    controls: ControlsTable = ControlsTable()

    @model_validator(mode="after")
    def _known_arms(self) -> Self:
        for key, name in (("reference", self.reference), ("controls.positive", self.controls.positive)):
            if name is not None and name not in self.arms:
                raise ValueError(f"`{key}` names the arm {name!r}, which [arms] does not have")
        if self.controls.positive == self.reference:
            raise ValueError("`controls.positive` must differ from `reference`")
        if not self.compared:
            raise ValueError("no arm is left to compare: give one beside the reference and the control")
        return self

    @property
    def num_restarts(self) -> int:
        """How often the server is started afresh: a server that runs already has one start only."""
        return 1 if self.server.command is None else self.design.restarts

    @property
    def compared(self) -> tuple[str, ...]:
        """The arms that are compared with the reference, in the file's order."""
        return tuple(n for n in self.arms if n not in (self.reference, self.controls.positive))


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A study file, where it lies, and its hash."""

    path: Path
    sha256: str
    declared: StudyFile

    def resolve(self, name: str) -> Path:
        """Return a path of the file as one that can be opened."""
        return (self.path.parent / name).resolve()


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        StudyError: it is missing, no TOML, or says something that cannot be run.
    """
    try:
        raw = path.read_bytes()
        declared = StudyFile.model_validate(tomllib.loads(raw.decode()))
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be read ({error.strerror}); give the path of a study file"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        raise StudyError(f"{path}: {first_fault(error)}") from error
    return Study(path=path.resolve(), sha256=hashlib.sha256(raw).hexdigest(), declared=declared)


def first_fault(error: ValidationError) -> str:
    """Return one sentence of what is wrong first, with its key."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what
