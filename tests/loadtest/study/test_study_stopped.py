"""Studies that cannot go on with their plan: what they tell, how they go on later, how the command ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from loadtest.cli.study import end_stopped
from loadtest.driver.errors import NotReadyError, UsageError
from loadtest.report.study_record import VerdictWord
from loadtest.study.answer import Answered
from loadtest.study.capacity_search import target_of
from loadtest.study.record import capacity_record
from loadtest.study.stopped_record import stopped_record
from loadtest.study.study_file import NothingValidError, StoppedError, StudyError
from tests.loadtest.study.test_study_conduct import EQUAL, SEARCHED, conductor

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.driver.errors import DriverError
    from loadtest.study.conduct import Conductor
    from loadtest.study.study_file import Study

TARGET = target_of("p95<50ms")


def stopped_at(conducting: Conductor) -> StoppedError:
    with pytest.raises(StoppedError) as caught:
        conducting.conduct()
    return caught.value


def code_of(stopped: StoppedError | None, study: Study) -> int:
    assert stopped is not None
    answered = Answered(
        record=stopped_record(study, stopped, TARGET, "xlmr-load study"), report=Path("r"), stopped=stopped
    )
    with pytest.raises(typer.Exit) as ended:
        end_stopped(answered)
    return int(ended.value.exit_code)


def test_an_objective_that_no_rate_meets_is_told_with_what_was_probed(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    """M/M/1 with mu = 40/s: even idle it answers 1 - exp(-40 * 0.05) = 86 % within 50 ms, not 95 %."""
    study = study_of(SEARCHED)
    conducting, queue = conductor(study, tmp_path / "out", {"old": 40.0, "new": 40.0})
    stopped = stopped_at(conducting)
    assert stopped.missed
    assert code_of(stopped, study) == 3
    record = stopped_record(study, stopped, TARGET, "xlmr-load study")
    assert not record.valid
    assert record.verdict.word is VerdictWord.INVALID
    (found,) = record.capacities
    assert found.rate_per_s is None
    lowest = found.probes[0]
    # Half of all at once; lower, a probe of 1 s has not the 20 requests of which one may be late.
    assert [probe.rate_per_s for probe in found.probes] == [20.0]
    assert lowest.attained_ratio == pytest.approx(1 - math.exp(-(40 - 20) * 0.05), abs=1e-3)
    assert "no rate met p95<50ms with old: at 20/s, the lowest of 1 probed, 63.2% were in time" in str(
        stopped
    )
    assert {run.path for run in record.runs} == {"runs/unloaded-old", "runs/unloaded-new"}
    assert record.design["capacity_per_s"] is None
    again, queue = conductor(study, tmp_path / "out", {"old": 40.0, "new": 40.0})
    assert str(stopped_at(again)) == str(stopped)
    assert not queue.made, "a run that was complete was made again"


def test_an_objective_that_every_rate_meets_is_told(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of(SEARCHED)
    conducting, queue = conductor(study, tmp_path / "out", {"old": 1e9, "new": 1e9})
    queue.at_once_per_s = 100.0
    stopped = stopped_at(conducting)
    assert not stopped.missed
    assert code_of(stopped, study) == 5
    assert "every rate met p95<50ms with old: at 2.56e+04/s, the highest of 10 probed, 100.0%" in str(stopped)


def test_a_search_that_runs_out_of_probes_names_the_rates_between(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    study = study_of(SEARCHED.replace('objective = "p95<50ms"', 'objective = "p95<50ms"\nmax_probes = 3'))
    conducting, _ = conductor(study, tmp_path / "out", EQUAL)
    stopped = stopped_at(conducting)
    # The closed form: mu - ln(20) / L = 40.1/s lies below 50/s, where the search starts, and above 25/s.
    assert "after 3 rates it lay between 35.36/s, which met it, and 50/s" in str(stopped)
    assert code_of(stopped, study) == 5


def test_probes_that_were_not_valid_are_made_again_by_the_next_sitting(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    study = study_of(SEARCHED)
    straight, _ = conductor(study, tmp_path / "straight", EQUAL)
    noisy, queue = conductor(study, tmp_path / "out", EQUAL)
    queue.invalid = tuple(f"probe-{number:03d}-" for number in range(2, 7))
    stopped = stopped_at(noisy)
    assert isinstance(stopped, NothingValidError)
    assert "The same command makes these probes again" in str(stopped)
    assert code_of(stopped, study) == 5
    quiet, queue = conductor(study, tmp_path / "out", EQUAL)
    assert quiet.conduct() == straight.conduct()
    assert queue.made[:2] == ["probe-002-old", "probe-003-old"]


def test_a_machine_that_stays_noisy_ends_each_sitting_once(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    study = study_of(SEARCHED)
    for _ in range(2):
        noisy, queue = conductor(study, tmp_path / "out", EQUAL)
        queue.invalid = ("probe-",)
        assert isinstance(stopped_at(noisy), NothingValidError)
        assert len([name for name in queue.made if name.startswith("probe-")]) == 5


@pytest.mark.parametrize(
    ("fails", "num_probes", "num_blocks"), [("probe-003-old", 3, 0), ("003-aa-old", None, 3)]
)
def test_a_server_that_is_gone_leaves_a_record_of_what_was_made(
    study_of: Callable[[str], Study], tmp_path: Path, fails: str, num_probes: int | None, num_blocks: int
) -> None:
    study = study_of(SEARCHED)
    conducting, queue = conductor(study, tmp_path / "out", EQUAL)
    queue.fails = fails
    stopped = stopped_at(conducting)
    assert stopped.made is not None
    assert len(stopped.made.blocks) == num_blocks
    assert num_probes is None or len(stopped.made.probed) == num_probes
    record = stopped_record(study, stopped, TARGET, "xlmr-load study")
    assert record.reasons == (f"{fails}: the target refused the connection.",)
    assert not record.comparisons
    assert not record.aa, "pairs of an unfinished plan are not compared"
    assert len(record.runs) == 2 + num_blocks
    assert code_of(stopped, study) == 5
    again, queue = conductor(study, tmp_path / "out", EQUAL)
    straight, _ = conductor(study, tmp_path / "straight", EQUAL)
    assert again.conduct() == straight.conduct()
    assert queue.made[0] == fails


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            UsageError("The arm 'new' sends xnli to 'gone'."),
            StudyError,
            "The arm 'new' sends xnli to 'gone'.",
        ),
        (
            NotReadyError("The target is not ready after 3 s: 503"),
            StoppedError,
            "The target is not ready after 3 s: 503; start the service, then give the same command",
        ),
    ],
)
def test_a_server_that_does_not_fit_is_told_before_anything_is_measured(
    study_of: Callable[[str], Study], tmp_path: Path, error: DriverError, kind: type[StudyError], said: str
) -> None:
    def look(url: str, waiting: Callable[[str, float], None]) -> None:
        raise error

    conducting, queue = conductor(study_of(SEARCHED), tmp_path / "out", EQUAL)
    conducting.fits = look
    with pytest.raises(StudyError) as caught:
        conducting.conduct()
    assert (type(caught.value), str(caught.value)) == (kind, said)
    assert not queue.made


def test_what_stops_a_study_before_its_first_figures_is_no_page(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    conducting, queue = conductor(study_of(SEARCHED), tmp_path / "out", EQUAL)
    queue.fails = "unloaded-new"
    assert stopped_at(conducting).made is None


def test_a_search_for_one_capacity_alone_tells_it_too(
    study_of: Callable[[str], Study], tmp_path: Path
) -> None:
    study = study_of(SEARCHED)
    conducting, _ = conductor(study, tmp_path / "out", {"old": 40.0, "new": 40.0})
    with pytest.raises(StoppedError) as caught:
        conducting.find_capacity()
    stopped = caught.value
    assert stopped.made is not None
    record = capacity_record(study, stopped.made, TARGET, "xlmr-load capacity", str(stopped))
    assert not record.valid
    assert record.verdict.sentence.startswith("No rate met p95<50ms with old")
    assert [probe.rate_per_s for probe in record.capacities[0].probes] == [20.0]
