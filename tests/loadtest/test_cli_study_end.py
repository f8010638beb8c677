"""How a study ends as a command: what is only an answer, and what fails a gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import typer

from loadtest.cli.study import end
from loadtest.report.study_files import read_record
from loadtest.report.study_record import StudyRecord, VerdictWord
from tests.loadtest.report.made_up_study import build_study

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    folder: Path = build_study(tmp_path_factory.mktemp("study"), num=40)
    return read_record(folder / "study.json")


def code_of(record: StudyRecord, *, strict: bool = False, gate: bool = False) -> int:
    with pytest.raises(typer.Exit) as ended:
        end(record, strict=strict, gate=gate)
    return int(ended.value.exit_code)


def saying(record: StudyRecord, word: VerdictWord) -> StudyRecord:
    return record.model_copy(update={"verdict": record.verdict.model_copy(update={"word": word})})


@pytest.mark.parametrize(
    ("word", "plain", "strict", "gate"),
    [
        (VerdictWord.EQUIVALENT, 0, 0, 0),
        (VerdictWord.FASTER, 0, 0, 0),
        (VerdictWord.SLOWER, 0, 0, 4),
        (VerdictWord.INCONCLUSIVE, 0, 6, 0),
    ],
)
def test_codes_of_each_word(
    record: StudyRecord, word: VerdictWord, plain: int, strict: int, gate: int
) -> None:
    found = saying(record, word)
    assert [code_of(found), code_of(found, strict=True), code_of(found, gate=True)] == [plain, strict, gate]


def test_a_study_that_may_not_speak_fails_no_gate_but_ends_as_invalid(record: StudyRecord) -> None:
    found = saying(record, VerdictWord.SLOWER).model_copy(update={"valid": False})
    assert code_of(found, gate=True, strict=True) == 5


@pytest.mark.parametrize(("synthetic", "code"), [(False, 4), (True, 0)])
def test_worse_answers_fail_a_gate_where_answers_mean_something(
    record: StudyRecord, *, synthetic: bool, code: int
) -> None:
    worse = tuple(one.model_copy(update={"word": VerdictWord.WORSE}) for one in record.quality)
    arms = tuple(arm.model_copy(update={"synthetic": synthetic}) for arm in record.arms)
    found = saying(record, VerdictWord.EQUIVALENT).model_copy(update={"quality": worse, "arms": arms})
    assert worse
    assert code_of(found, gate=True) == code
    assert code_of(found) == 0
