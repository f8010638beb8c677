"""What a study file may say, and what it is told when it may not."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from loadtest.datasets.tasks import Task
from loadtest.study.cores import on_cores
from loadtest.study.folder import open_folder
from loadtest.study.study_file import StudyError, load_study
from loadtest.trace.arm import load_arm
from models.synthetic import Size, shape_of
from tests.loadtest.study.made_up import STUDY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.study.study_file import Study


def test_defaults_are_those_of_a_sound_design(study_of: Callable[[str], Study]) -> None:
    declared = study_of("").declared
    assert declared.compared == ("new",)
    assert declared.design.load_ratios == [0.3, 0.6, 0.8]
    assert (declared.design.pairs, declared.design.restarts) == (20, 10)
    assert (declared.design.margins.p50, declared.design.margins.p95) == (0.05, 0.10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name: Field required"),
        ("name = [", "not TOML"),
        (STUDY.replace('reference = "old"', 'reference = "gone"'), "`reference` names the arm 'gone'"),
        (STUDY.replace('target = "http://127.0.0.1:9"', ""), "give either `command`"),
        (STUDY + "[design]\nlaw = 'poisson:40'\n", "`law` must hold {rate}"),
        (STUDY + "[design]\nload_ratios = [0.3]\n", "`primary_load_ratio` must be one of"),
        (STUDY + "[design]\npairs = 1\n", "design.pairs"),
        (STUDY + "[design]\npairs = 4\nrestarts = 5\n", "`restarts` may not exceed"),
        (STUDY + "[design]\npear = 4\n", "design.pear: Extra inputs are not permitted"),
        (
            STUDY + "[controls]\npositive = 'new'\n",
            "`positive` (an arm's name) and `planted_ratio` go together",
        ),
        (STUDY + "[controls]\npositive = 'new'\nplanted_ratio = 1.2\n", "no arm is left to compare"),
        (STUDY + "[design.margins]\np50 = 0.0\n", "design.margins.p50"),
        (STUDY.replace("seed = 11", "seed = '11'"), "seed: Input should be a valid integer"),
    ],
)
def test_a_bad_file_is_told_its_first_fault(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        load_study(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.toml: cannot be read"):
        load_study(tmp_path / "gone.toml")


def test_what_was_declared_may_not_change_under_way(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    out = tmp_path / "out"
    open_folder(out, study_of(""))
    open_folder(out, study_of(""))
    with pytest.raises(StudyError, match=r"begun with another version .*\(design\.pairs was 20 and is 30\)"):
        open_folder(out, study_of("[design]\npairs = 30\n"))
    with pytest.raises(StudyError, match=r"begun with another version of study\.toml; what is declared"):
        open_folder(out, study_of("# only a comment\n"))


def test_the_examples_can_be_run_as_they_are(project_root: Path) -> None:
    for name in ("demo/study.toml", "study/study.toml", "study/short.toml"):
        folder = (project_root / "examples" / name).parent
        study = load_study(project_root / "examples" / name)
        planned = tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))["variant"]
        names = {table["name"] for table in planned}
        for table in study.declared.arms.values():
            arm = load_arm(study.resolve(table.file))
            assert set(arm.variants) == set(Task)
            assert set(arm.variants.values()) <= names
        # Whatever machine this is, each file finds cores on it, or pins nobody.
        assert on_cores(study, server=None, load=None).declared.server.cpus != "auto"


def test_the_slower_arm_of_the_examples_is_as_much_slower_as_they_say(project_root: Path) -> None:
    folder = project_root / "examples" / "study"
    planned = tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))["variant"]
    layers = {
        table["name"].partition(".")[0]: table.get("layers", shape_of(Size.MINI).num_layers)
        for table in planned
    }
    for name in ("study.toml", "short.toml"):
        controls = load_study(folder / name).declared.controls
        assert controls.positive is not None
        assert layers[controls.positive] / layers["en-mnli"] == controls.planted_ratio


def test_cores_of_the_command_line_win_over_the_files(study_of: Callable[[str], Study]) -> None:
    study = study_of('[load]\ncpus = "3"\n')
    assert on_cores(study, server=None, load=None).declared == study.declared
    assert on_cores(study, server=None, load="1").declared.load.cpus == "1"
    with pytest.raises(StudyError, match="--server-cpus pins a server that the study starts"):
        on_cores(study, server="0", load=None)


def test_a_study_is_not_resumed_on_other_cores(study_of: Callable[[str], Study], tmp_path: Path) -> None:
    study = study_of("")
    open_folder(tmp_path / "out", on_cores(study, server=None, load="1"))
    with pytest.raises(StudyError, match="begun with load_cpus 1, not unset"):
        open_folder(tmp_path / "out", study)


def test_a_server_that_runs_already_has_one_start(study_of: Callable[[str], Study]) -> None:
    study = study_of("[design]\nrestarts = 10\n")
    assert study.declared.num_restarts == 1
