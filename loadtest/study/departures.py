"""In which ways a study was not what its file declares, or may mislead, each in a sentence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.trace.mix import ITEMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.report.records import Summary
    from loadtest.study.made import Made
    from loadtest.study.study_file import StudyFile


def departures(declared: StudyFile, made: Made) -> tuple[str, ...]:
    """Return every sentence, those of the machine first."""
    summaries = [run.summary for run in made.blocks]
    return (
        *_unpinned(declared),
        *_mixed(declared),
        *doubtful(made),
        *_left_out(summaries),
    )


def doubtful(made: Made) -> Iterable[str]:
    """Say which runs before the plan were not valid; nothing is paired with them, and so they stay."""
    for arm, summary in made.unloaded.items():
        if not summary.valid:
            yield (
                f"The unloaded run of {arm} was not valid ({summary.reasons[0]}) Answers and scores stand; "
                "its times, and what tokens explain of them, are doubtful."
            )
    if made.at_once is not None and not made.at_once.valid:
        yield (
            "The run that sent all at once, from which the loads were set, was not valid "
            f"({made.at_once.reasons[0]}) Shares of capacity are rough; the arms of a pair had one rate."
        )


def _unpinned(declared: StudyFile) -> Iterable[str]:
    """Say where server and generator may have taken time from each other."""
    if declared.server.command is not None and None in (declared.server.cpus, declared.load.cpus):
        yield (
            "Server and generator had no cores of their own, and may have taken time from each other; "
            "--server-cpus and --load-cpus give them some."
        )


def _mixed(declared: StudyFile) -> Iterable[str]:
    """Say where loads are shares of a rate that was reckoned, not measured."""
    wanted = declared.trace
    if declared.capacity.method == "offline" and (wanted.task_mix, wanted.language_mix) != (ITEMS, ITEMS):
        yield (
            "Loads are shares of the rate at which all items sent at once are answered, reckoned for a mix "
            f"of tasks {wanted.task_mix!r} and languages {wanted.language_mix!r} by unloaded service times."
        )


def _left_out(summaries: Sequence[Summary]) -> tuple[str, ...]:
    """Say what was left out, and in which ways requests were not the benchmark's."""
    invalid = sum(not summary.valid for summary in summaries)
    said = [f"{invalid} of {len(summaries)} runs of the plan were not valid; their pairs are left out."]
    requests = dict.fromkeys(text for summary in summaries for text in summary.deviations)
    return (*(said if invalid else ()), *requests)
