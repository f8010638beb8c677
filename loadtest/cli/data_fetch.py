"""`xlmr-load data fetch`: download what may be downloaded, and say what people must do themselves."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads annotations when the command is called
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from loadtest.cli.exits import ExitCode, note, stop
from loadtest.datasets.download import DownloadError
from loadtest.datasets.examples import DataError
from loadtest.datasets.fetch import FetchPlan, plan_fetch
from loadtest.datasets.fetch import fetch as fetch_one
from loadtest.datasets.library import Library
from loadtest.datasets.tasks import Task
from loadtest.trace.items import TraceError
from loadtest.trace.selection import ALL, parse_languages, parse_tasks


def fetch(  # noqa: PLR0913 - each argument is an option of the command line
    *,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of data sets; made if need be.")],
    tasks: Annotated[str, typer.Option(help=f"'all' or some of {', '.join(Task)}.")] = ALL,
    languages: Annotated[str, typer.Option(help="'all' or two-letter codes.")] = ALL,
    accept_licence: Annotated[
        str, typer.Option(help="Tasks whose licence you have read and agree to, e.g. xnli,udpos.")
    ] = "",
    base_url: Annotated[
        str | None, typer.Option(help="A mirror that keeps each file under HOST/PATH of its address.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds without a byte before a retry.")] = 30.0,
) -> None:
    """Download what is missing in a folder; runs again take up where they stopped."""
    try:
        asked = parse_tasks(tasks)
        accepted = parse_tasks(accept_licence) or tuple(Task) if accept_licence else ()
        wanted_languages = parse_languages(languages)
        folder.mkdir(parents=True, exist_ok=True)
        plan = plan_fetch(Library(folder), asked or tuple(Task), wanted_languages, accepted=accepted)
        num_files, failures = _run(plan, folder, base_url, timeout)
    except (TraceError, DataError) as error:
        stop(ExitCode.USAGE, str(error))
    except OSError as error:
        stop(ExitCode.USAGE, f"{folder}: cannot be written ({error.strerror}).")
    for sentence in (*plan.needs_consent.values(), *plan.by_hand.values()):
        note(f"not fetched: {sentence}")
    typer.echo(f"{folder}: {num_files} files fetched" if plan.remotes else f"{folder}: nothing to fetch")
    if failures:
        stop(ExitCode.INTERNAL, "\n".join(failures))
    if asked is not None and (plan.needs_consent or plan.by_hand):
        stop(ExitCode.USAGE, "some of the tasks named could not be fetched; see above.")


def _run(plan: FetchPlan, folder: Path, base_url: str | None, timeout_s: float) -> tuple[int, list[str]]:
    """Download every address of a plan; return how many files it gave, and what failed."""
    num_files = 0
    failures: list[str] = []
    columns = (
        TextColumn("{task.description:40}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with (
        httpx2.Client(follow_redirects=True, timeout=timeout_s) as client,
        Progress(*columns, console=Console(stderr=True), transient=True) as bar,
    ):
        for remote in plan.remotes:
            shown = bar.add_task(urlsplit(remote.url).path.rsplit("/", maxsplit=1)[-1], total=None)

            def advance(num_bytes: int, total_bytes: int | None, *, shown: TaskID = shown) -> None:
                bar.update(shown, completed=num_bytes, total=total_bytes)

            try:
                num_files += len(fetch_one(client, remote, folder, base_url=base_url, progress=advance))
            except (DownloadError, DataError) as error:
                failures.append(str(error))
            bar.remove_task(shown)
    return num_files, failures
