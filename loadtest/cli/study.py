"""`xlmr-load study`: run a declared comparison of arms, or go on with it, and answer its question."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from loadtest.cli.exits import ExitCode, note, stop
from loadtest.cli.study_screen import StudyScreen
from loadtest.datasets.examples import DataError
from loadtest.driver.errors import DriverError
from loadtest.report.run_files import ReportError
from loadtest.report.study_record import VerdictWord
from loadtest.report.terminal import print_study
from loadtest.study.answer import Answered, answer_study
from loadtest.study.cores import on_cores
from loadtest.study.study_file import Study, StudyError, load_study
from loadtest.trace.arm import ArmError
from loadtest.trace.arrivals import LawError
from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from loadtest.report.study_record import StudyRecord

INTERRUPTED = 130  # 128 + SIGINT, as shells say it


def study(  # noqa: PLR0913 - each argument is an option of the command line
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file (TOML).")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for runs and report; an interrupted study goes on there.")
    ] = None,
    *,
    server_cpus: Annotated[
        str | None, typer.Option(help="Cores of the server, such as 0-3 or auto, instead of the file's.")
    ] = None,
    load_cpus: Annotated[
        str | None, typer.Option(help="Cores of the load generator, such as 5 or auto, likewise.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with code 6 where the verdict is inconclusive.")
    ] = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="End with code 4 where an arm was found slower or worse.")
    ] = False,
) -> None:
    """Run a study's servers, arms and controls, and answer its question with a report."""
    try:
        found = on_cores(load_study(file), server=server_cpus, load=load_cpus)
    except StudyError as error:
        stop(ExitCode.USAGE, str(error))
    answered = conduct(found, out or Path("var") / found.declared.name)
    tell(answered)
    end_stopped(answered)
    end(answered.record, strict=strict, gate=gate)


def conduct(found: Study, out: Path, answer: Callable[..., Answered] = answer_study) -> Answered:
    """Run a study with its progress on standard error; end the command where it cannot be run."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to end, leave no server behind
    try:
        with StudyScreen() as screen:
            return answer(found, out, command=tuple(sys.argv), screen=screen)
    except KeyboardInterrupt:
        note(f"Stopped; the same command goes on with what is missing in {out}.")
        raise typer.Exit(INTERRUPTED) from None
    except (StudyError, DataError, TraceError, LawError, ArmError, DriverError) as error:
        stop(ExitCode.USAGE, str(error))
    except ReportError as error:
        stop(ExitCode.INTERNAL, str(error))
    except OSError as error:
        named = "" if error.filename is None else f" {error.filename}"
        stop(
            ExitCode.USAGE,
            f"a file of the study cannot be read or written{named} ({error.strerror or error}). Mend that; "
            f"the same command then goes on with what is missing in {out}",
        )


def tell(answered: Answered) -> None:
    """Print the table of arms and tasks, the answer, and last the path of the report."""
    console = Console()
    print_study(answered.record, answered.report.parent, console)
    verdict = answered.record.verdict
    console.print(f"\n{verdict.word.value.upper()}: {verdict.paragraph}", markup=False, highlight=False)
    typer.echo(f"report: {answered.report}")


def end_stopped(answered: Answered) -> None:
    """End where the plan was not gone on with: 3 where no rate meets the objective, else 5; else return."""
    if answered.stopped is not None:
        code = ExitCode.OBJECTIVE_MISSED if answered.stopped.missed else ExitCode.INVALID
        stop(code, str(answered.stopped))


def end(record: StudyRecord, *, strict: bool, gate: bool = False) -> NoReturn:
    """End with the code that says how the study went; "slower" is an answer, and a failure only to a gate."""
    if not record.valid:
        raise typer.Exit(ExitCode.INVALID)
    if gate and _is_worse(record):
        raise typer.Exit(ExitCode.REGRESSION)
    if strict and record.verdict.word is VerdictWord.INCONCLUSIVE:
        raise typer.Exit(ExitCode.INCONCLUSIVE)
    raise typer.Exit(ExitCode.OK)


def _is_worse(record: StudyRecord) -> bool:
    """Whether a primary says slower, or a score worse; scores of synthetic variants say nothing."""
    speaks = not any(arm.synthetic for arm in record.arms)
    slower = record.verdict.word is VerdictWord.SLOWER
    return slower or (speaks and any(one.word is VerdictWord.WORSE for one in record.quality))
