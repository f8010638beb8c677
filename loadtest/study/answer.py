"""A study from its file to its answer: the one entry point that commands call."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from loadtest.report.html import write_report
from loadtest.report.study_files import save_study
from loadtest.study.arms import settle_arms
from loadtest.study.capacity_search import target_of
from loadtest.study.conduct import Conductor, Watch
from loadtest.study.cores import parse_cpus
from loadtest.study.fitting import fits_of
from loadtest.study.folder import open_folder
from loadtest.study.record import build_record, capacity_record
from loadtest.study.replay import Replayer
from loadtest.study.segments import Segments, build_base, mix_of
from loadtest.study.sitting import sole_sitting
from loadtest.study.stopped_record import stopped_record
from loadtest.study.study_file import StoppedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from loadtest.datasets.tasks import Task
    from loadtest.report.study_record import StudyRecord
    from loadtest.study.folder import StudyFolder
    from loadtest.study.made import Made
    from loadtest.study.study_file import Study


class Screen(Watch, Protocol):
    """Shows how a study gets on."""

    def building(self, task: Task, language: str) -> None:
        """One task in one language was read into the base trace."""
        ...

    def reporting(self, what: str, done: int, total: int) -> None:
        """Some of the report is made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A study's record, and the page that shows it; ``stopped``: why its plan was not gone on with."""

    record: StudyRecord
    report: Path
    stopped: StoppedError | None = None


def answer_study(
    study: Study,
    out: Path,
    *,
    command: tuple[str, ...],
    screen: Screen,
) -> Answered:
    """Run what is missing of a study, judge it, and write `study.json`, `summary.json` and `report.html`.

    A study that cannot go on with its plan has a page too, once it has measured something; it says why.

    Raises:
        StudyError: the study cannot be run as declared.
        DataError, TraceError, ArmError: data, trace or arms do not fit.
        ReportError: a file of a run is damaged.
    """
    with _conducting(study, out, command, screen) as conductor:
        made, stopped = _made(conductor.conduct)
        said = " ".join(command)
        if stopped is not None:
            record = stopped_record(study, stopped, conductor.target, said)
        else:
            record = build_record(study, conductor.folder, made, conductor.target, said)
        return _answered(record, stopped, conductor.folder, screen)


def answer_capacity(study: Study, out: Path, *, command: tuple[str, ...], screen: Screen) -> Answered:
    """Find the capacity of a study's reference arm alone; raises as ``answer_study`` does."""
    with _conducting(study, out, command, screen) as conductor:
        made, stopped = _made(conductor.find_capacity)
        why = None if stopped is None else str(stopped)
        record = capacity_record(study, made, conductor.target, " ".join(command), why)
        return _answered(record, stopped, conductor.folder, screen)


@contextmanager
def _conducting(study: Study, out: Path, command: tuple[str, ...], screen: Screen) -> Iterator[Conductor]:
    """Hold a study's folder, with what conducts the study in it."""
    _check_cores(study)
    with sole_sitting(out):
        yield _conductor(study, out, command, screen)


def _made(make: Callable[[], Made]) -> tuple[Made, StoppedError | None]:
    """Return what was made, and why the plan was not gone on with; raise where nothing was made."""
    try:
        return make(), None
    except StoppedError as stopped:
        if stopped.made is None:
            raise
        return stopped.made, stopped


def _answered(
    record: StudyRecord, stopped: StoppedError | None, folder: StudyFolder, screen: Screen
) -> Answered:
    save_study(folder.root, record)
    report = write_report(folder.root, told=screen.reporting)
    return Answered(record=record, report=report, stopped=stopped)


def _check_cores(study: Study) -> None:
    """Raise a StudyError where cores are named that are not there, before anything is written."""
    for cpus in (study.declared.server.cpus, study.declared.load.cpus):
        if cpus is not None:
            parse_cpus(cpus)


def _conductor(study: Study, out: Path, command: tuple[str, ...], screen: Screen) -> Conductor:
    declared = study.declared
    folder = open_folder(out, study)
    base = build_base(study, folder, screen.building)
    arms = settle_arms(study, folder)
    return Conductor(
        study=study,
        folder=folder,
        replay=Replayer(
            study=study,
            folder=folder,
            arms=arms,
            cpus=None if declared.load.cpus is None else parse_cpus(declared.load.cpus),
            objectives=(declared.capacity.objective,),
            command=command,
        ),
        segments=Segments(study=study, folder=folder, base=base, mix=mix_of(study, base)),
        target=target_of(declared.capacity.objective),
        watch=screen,
        fits=fits_of(arms.values(), base, declared.server.start_timeout_s),
    )
