"""`xlmr-load ab`, `aa` and `capacity`: studies declared on the command line, against a running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loadtest.cli.exits import ExitCode, stop
from loadtest.cli.study import conduct, end, end_stopped, tell
from loadtest.report.study_record import VerdictWord
from loadtest.study.answer import answer_capacity
from loadtest.study.by_hand import Wish, declare
from loadtest.study.cores import on_cores
from loadtest.study.study_file import Study, StudyError, TraceTable
from loadtest.trace.arm import ArmError

Target = Annotated[str, typer.Option(help="URL of the service, such as http://127.0.0.1:8000.")]
Out = Annotated[Path, typer.Option(help="Folder for runs and report; an interrupted study goes on there.")]
Data = Annotated[str, typer.Option(help="Folder of data sets, or 'bundled' for the sample.")]
Tasks = Annotated[str, typer.Option(help="'all' or names, e.g. xnli,xquad.")]
Languages = Annotated[str, typer.Option(help="'all' or two-letter codes.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Items a task and language.")]
Pairs = Annotated[int, typer.Option(min=2, help="Pairs of runs at each load.")]
OfflinePairs = Annotated[
    int | None,
    typer.Option(min=0, help="Pairs in which all is sent at once; 0 leaves them out, else half of --pairs."),
]
Loads = Annotated[str, typer.Option(help="Shares of the reference's capacity; the middle one is primary.")]
Seconds = Annotated[float, typer.Option(min=0.5, help="Length of one run.")]
Slo = Annotated[str, typer.Option(help="Latency objective that capacity and goodput are counted by.")]
Seed = Annotated[int, typer.Option(min=0, help="Of arrivals, order and resampling.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes that send.")]
LoadCpus = Annotated[str | None, typer.Option(help="Cores of the load generator, such as 2-3.")]
Strict = Annotated[bool, typer.Option("--strict", help="End with code 6 where it is inconclusive.")]


def ab(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    a: Annotated[Path, typer.Option("--a", help="arm.toml of the reference.")],
    b: Annotated[Path, typer.Option("--b", help="arm.toml of what is compared with it.")],
    target: Target,
    out: Out,
    data: Data = "bundled",
    tasks: Tasks = "all",
    languages: Languages = "all",
    limit: Limit = None,
    pairs: Pairs = 20,
    offline_pairs: OfflinePairs = None,
    aa_pairs: Annotated[int, typer.Option(min=0, help="Pairs of the A/A control; 0 leaves it out.")] = 10,
    loads: Loads = "0.3,0.6,0.8",
    duration: Seconds = 40.0,
    slo: Slo = "p95<500ms",
    capacity_method: Annotated[str, typer.Option(help="'objective' (a search) or 'offline'.")] = "objective",
    seed: Seed = 1,
    processes: Processes = 1,
    load_cpus: LoadCpus = None,
    strict: Strict = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="End with code 4 where B was found slower, or its answers worse.")
    ] = False,
) -> None:
    """Compare two arms of one running server, in random pairs, with an A/A control first."""
    _run(
        Wish(
            name="ab",
            target=target,
            reference=a.resolve(),
            arm=b.resolve(),
            trace=TraceTable(data=_data(data), tasks=tasks, languages=languages, limit=limit),
            seed=seed,
            pairs=pairs,
            load_ratios=_loads(loads),
            replicate_s=duration,
            law="poisson:{rate}",
            offline_pairs=max(2, pairs // 2) if offline_pairs is None else offline_pairs,
            aa_pairs=aa_pairs,
            objective=slo,
            capacity_method=capacity_method,
            processes=processes,
        ),
        out,
        strict=strict,
        gate=gate,
        load_cpus=load_cpus,
    )


def aa(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    arm: Annotated[Path, typer.Option(help="arm.toml of the arm that meets itself.")],
    target: Target,
    out: Out,
    data: Data = "bundled",
    tasks: Tasks = "all",
    languages: Languages = "all",
    limit: Limit = None,
    pairs: Pairs = 10,
    offline_pairs: OfflinePairs = None,
    load: Annotated[float, typer.Option(min=0.01, max=1.0, help="Share of the arm's capacity.")] = 0.6,
    duration: Seconds = 40.0,
    slo: Slo = "p95<500ms",
    seed: Seed = 1,
    processes: Processes = 1,
    load_cpus: LoadCpus = None,
    strict: Strict = False,
) -> None:
    """Compare an arm with itself: this machine's noise, and whether anything differs that must not."""
    _run(
        Wish(
            name="aa",
            target=target,
            reference=arm.resolve(),
            arm=arm.resolve(),
            trace=TraceTable(data=_data(data), tasks=tasks, languages=languages, limit=limit),
            seed=seed,
            pairs=pairs,
            load_ratios=(load,),
            replicate_s=duration,
            law="poisson:{rate}",
            offline_pairs=max(2, pairs // 2) if offline_pairs is None else offline_pairs,
            aa_pairs=0,
            objective=slo,
            capacity_method="offline",
            processes=processes,
        ),
        out,
        strict=strict,
        load_cpus=load_cpus,
    )


def capacity(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    arm: Annotated[Path, typer.Option(help="arm.toml of the arm whose capacity is wanted.")],
    target: Target,
    out: Out,
    data: Data = "bundled",
    tasks: Tasks = "all",
    languages: Languages = "all",
    limit: Limit = None,
    slo: Slo = "p95<500ms",
    replicates: Annotated[int, typer.Option(min=1, help="Runs at each rate.")] = 3,
    duration: Seconds = 20.0,
    seed: Seed = 1,
    processes: Processes = 1,
    load_cpus: LoadCpus = None,
) -> None:
    """Find the highest rate at which an arm meets a latency objective, with an interval."""
    wish = Wish(
        name="capacity",
        target=target,
        reference=arm.resolve(),
        arm=arm.resolve(),
        trace=TraceTable(data=_data(data), tasks=tasks, languages=languages, limit=limit),
        seed=seed,
        pairs=2,
        load_ratios=(0.6,),
        replicate_s=duration,
        law="poisson:{rate}",
        offline_pairs=2,
        aa_pairs=0,
        objective=slo,
        capacity_method="objective",
        processes=processes,
        replicates=replicates,
    )
    answered = conduct(_declare(wish, load_cpus), out, answer_capacity)
    typer.echo(answered.record.verdict.sentence)
    typer.echo(f"report: {answered.report}")
    end_stopped(answered)
    raise typer.Exit(ExitCode.OK if answered.record.valid else ExitCode.INVALID)


def _declare(wish: Wish, load_cpus: str | None) -> Study:
    try:
        return on_cores(declare(wish, Path.cwd()), server=None, load=load_cpus)
    except (StudyError, ArmError) as error:
        stop(ExitCode.USAGE, str(error))


def _run(wish: Wish, out: Path, *, strict: bool, load_cpus: str | None, gate: bool = False) -> None:
    answered = conduct(_declare(wish, load_cpus), out)
    tell(answered)
    end_stopped(answered)
    if wish.reference == wish.arm and answered.record.verdict.word in (
        VerdictWord.FASTER,
        VerdictWord.SLOWER,
    ):
        stop(ExitCode.INVALID, "An arm differs from itself; find out why before comparing anything here.")
    end(answered.record, strict=strict, gate=gate)


def _data(data: str) -> str:
    return data if data == "bundled" else str(Path(data).resolve())


def _loads(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        stop(ExitCode.USAGE, f"--loads {text!r}: write shares of the capacity, such as 0.3,0.6,0.8.")
    return found
