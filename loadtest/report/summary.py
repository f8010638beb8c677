"""From a run's files to `summary.json`: the entry points `summarise` and `write_summary`.

Rules: figures come from the samples alone; a run that is not valid has a summary like any other, with its
reasons first; summarising the same files twice gives the same bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from loadtest.analysis.validity import reasons
from loadtest.report.examine import examine
from loadtest.report.notes import notes_of
from loadtest.report.records import Check, ServedVariant, Summary
from loadtest.report.run_checks import check_run
from loadtest.report.run_files import ReportError, read_reference, read_run
from loadtest.trace.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.report.examine import Examined
    from loadtest.report.run_files import RunFiles

SUMMARY_FILE = "summary.json"
NS_PER_S = 1_000_000_000


def write_summary(run_dir: Path, reference_dir: Path | None = None) -> Summary:
    """Summarise the run in ``run_dir`` and write ``summary.json`` beside its samples.

    ``reference_dir``: a run of the same arm against the unloaded server, for the mismatch of answers.

    Raises:
        ReportError: a file of the run is missing or damaged.
    """
    runs = [read_run(run_dir)]
    references = [] if reference_dir is None else [read_reference(reference_dir, runs)]
    summary = summarise(runs, examine(runs, references))
    save_summary(run_dir, summary)
    return summary


def save_summary(folder: Path, summary: Summary) -> Path:
    """Write a summary as JSON and return the file's path."""
    path = folder / SUMMARY_FILE
    # A run is taken for complete once it has its summary.
    write_whole(path, summary.model_dump_json(indent=1) + "\n")
    return path


def read_summary(folder: Path) -> Summary:
    """Return the summary that lies in a folder.

    Raises:
        ReportError: there is none, or it is of another make.
    """
    path = folder / SUMMARY_FILE
    try:
        return Summary.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(
            f"{path} cannot be read ({error.strerror}); make it with xlmr-load report {folder}."
        ) from error
    except ValidationError as error:
        raise ReportError(
            f"{path} is of another version; make it again with xlmr-load report {folder}."
        ) from error


def summarise(runs: Sequence[RunFiles], examined: Examined) -> Summary:
    """Put together what `summary.json` holds; several runs are judged one by one, and all must be valid."""
    checks = [(run, check) for run in runs for check in check_run(run)]
    failed = {run.folder.name: reasons(check for of, check in checks if of is run) for run in runs}
    named = len(runs) > 1
    why = [f"{name}: {reason}" if named else reason for name, found in failed.items() for reason in found]
    first, grouping = runs[0], examined.grouping
    return Summary(
        valid=not why,
        reasons=tuple(why),
        checks=tuple(Check(run=run.folder.name if named else None, **asdict(check)) for run, check in checks),
        notes=(*notes_of(runs), *dict.fromkeys(examined.problems)),
        deviations=tuple(dict.fromkeys(_deviations(runs))),
        environment=first.info.environment,
        started=_started(first),
        command=first.info.command,
        trace=_trace(first),
        variants=_variants(runs),
        makespan_s=examined.window.makespan_s,
        duration_s=examined.window.duration_s,
        overall=grouping.overall(),
        by_task=grouping.by("task"),
        by_language=grouping.by("language"),
        by_task_language=grouping.by_task_language(),
        by_arm=grouping.by_arm(),
        objectives=examined.objectives,
    )


def _trace(run: RunFiles) -> dict[str, Any]:
    """Return what the header says, and the hash of the arrivals, which it does not."""
    if run.header is None:
        return {}
    return {**json.loads(run.header.to_line()), "arrivals_sha256": run.arrivals_sha256}


def _started(run: RunFiles) -> datetime | None:
    wall_ns = run.info.outcome.start_wall_ns
    return datetime.fromtimestamp(wall_ns // NS_PER_S, UTC) if wall_ns > 0 else None


def _deviations(runs: Sequence[RunFiles]) -> list[str]:
    """Name every way in which requests were not formed as the benchmark forms them."""
    found = [text for run in runs for text in run.info.deviations]
    for run in runs:
        options = {} if run.header is None else run.header.options
        found += [f"{name} = {value}" for name, value in sorted(options.items())]
    return found


def _variants(runs: Sequence[RunFiles]) -> tuple[ServedVariant, ...]:
    tasks: dict[str, set[str]] = {}
    for run in runs:
        for variant, task in run.samples.select("variant", "task").unique().iter_rows():
            tasks.setdefault(str(variant), set()).add(task)
    known = {variant.name: variant for run in runs for variant in run.info.variants}
    return tuple(
        ServedVariant(
            name=name,
            tasks=tuple(sorted(tasks[name])),
            revision=known[name].revision if name in known else None,
            synthetic=known[name].synthetic if name in known else False,
        )
        for name in sorted(tasks)
    )
