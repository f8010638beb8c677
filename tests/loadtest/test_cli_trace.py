"""`xlmr-load trace` as a user meets it: exit codes, messages and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.datasets.tasks import LANGUAGES
from loadtest.trace.items import Role
from loadtest.trace.schedule import load_trace
from tests.loadtest.tiny_data import write, write_tiny_data

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_data(tmp_path / "data")


def _trace(data: object, out: Path, *options: str) -> Result:
    arguments = ["trace", "--data", str(data), "--out", str(out), *options]
    return CliRunner().invoke(app, arguments)


def test_a_trace_is_built_and_described(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = _trace(
        data, out, "--tasks", "all", "--languages", "all", "--limit", "2", "--arrivals", "poisson:20",
        "--duration", "5", "--seed", "3",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    trace = load_trace(out)
    assert trace.header.law == "poisson:20"
    assert trace.header.seed == 3
    assert result.stdout.startswith(f"{out}: {len(trace.arrivals)} arrivals (poisson:20) over")
    assert "xnli: not there in ar bg de" in result.stderr


def test_the_same_command_gives_the_same_bytes(data: Path, tmp_path: Path) -> None:
    options = ("--limit", "1", "--arrivals", "gamma:30:2", "--duration", "4", "--seed", "9")
    folders = (tmp_path / "one", tmp_path / "two")
    for out in folders:
        assert _trace(data, out, *options).exit_code == 0
    for name in ("items.jsonl", "gold.jsonl", "schedule.jsonl"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


def test_tasks_languages_mix_and_deviations_reach_the_trace(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = _trace(
        data, out, "--tasks", "lareqa,tatoeba", "--languages", "en,de,sw", "--candidates", "1",
        "--task-mix", "lareqa=0,*=1", "--language-mix", "uniform", "--deviations", "lower-case",
        "--name", "mine",
    )  # fmt: skip
    assert result.exit_code == 2
    assert "Tatoeba is not there in de" in result.stderr
    result = _trace(
        data, out, "--tasks", "lareqa,tatoeba", "--candidates", "1", "--task-mix", "lareqa=0,*=1",
        "--language-mix", "uniform", "--deviations", "lower-case", "--name", "mine",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    trace = load_trace(out)
    assert {trace.items[arrival.item].task for arrival in trace.arrivals} == {"tatoeba"}
    assert trace.header.name == "mine"
    assert trace.header.options == {"lower_case": True}
    assert trace.items["lareqa/en/000000"].input == {"text": "when did it open?"}


def test_items_without_gold_are_announced(tmp_path: Path) -> None:
    write(tmp_path / "data/xnli/test-en.tsv", "It rains.\tIt is wet.\n")
    result = _trace(tmp_path / "data", tmp_path / "out")
    assert result.exit_code == 0
    assert "no gold answers in files of xnli" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--tasks", "nli"), "did you mean xnli?"),
        (("--languages", "xx"), "Unknown language 'xx'"),
        (("--tasks", "xquad", "--languages", "th"), "XQuAD is not there"),
        (("--arrivals", "sometimes"), "sometimes"),
        (("--arrivals", "poisson:-3"), "poisson:-3"),
        (("--candidates", "many"), "--candidates 'many'; give a whole number"),
        (("--task-mix", "evenly"), "Cannot read the task mix"),
        (("--deviations", "shouting"), "Unknown deviation 'shouting'"),
        (("--limit", "0"), "--limit"),
        (("--seed", "-1"), "--seed"),
        (("--duration", "0"), "--duration"),
    ],
)
def test_a_wrong_option_is_a_usage_error_that_leaves_nothing(
    data: Path, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    result = _trace(data, tmp_path / "out", *options)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_damaged_data_is_named_by_file_and_line_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    path = data / "ud/en_tiny-ud-test.conllu"
    path.write_text(path.read_text().replace("2\tsail\t", "2\tsail "))
    result = _trace(data, tmp_path / "out")
    assert result.exit_code == 2
    assert f"error: {path}:2: 9 columns; a CoNLL-U line has 10" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    result = _trace(tmp_path / "nowhere", tmp_path / "out")
    assert result.exit_code == 2
    assert f"error: {tmp_path / 'nowhere'}: no such folder" in result.stderr


def test_an_existing_trace_is_replaced_only_by_force(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _trace(data, out, "--tasks", "xnli").exit_code == 0
    refused = _trace(data, out, "--tasks", "xquad")
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr
    assert _trace(data, out, "--tasks", "xquad", "--force").exit_code == 0
    assert {item.task for item in load_trace(out).items.values()} == {"xquad"}


def test_replayed_arrivals_come_from_their_file(data: Path, tmp_path: Path) -> None:
    log = write(
        tmp_path / "arrivals.csv",
        "Timestamp,Model,Request tokens,Response tokens\n0,m,1,1\n0.25,m,1,1\n0.5,m,1,1\n",
    )
    out = tmp_path / "out"
    result = _trace(data, out, "--tasks", "xnli", "--arrivals", f"replay:{log}", "--duration", "2")
    assert result.exit_code == 0, result.output
    assert [arrival.t_us for arrival in load_trace(out).arrivals] == [0, 250_000, 500_000]
    assert "left out" not in result.stderr
    short = _trace(
        data, tmp_path / "short", "--tasks", "xnli", "--arrivals", f"replay:{log}", "--duration", "0.3"
    )
    assert "1 recorded arrivals come after 0.3 s and are left out (--duration)" in short.stderr


def test_the_sample_that_comes_with_the_project_makes_a_trace_of_every_cell(tmp_path: Path) -> None:
    result = _trace("bundled", tmp_path / "out", "--arrivals", "offline")
    assert result.exit_code == 0, result.output
    trace = load_trace(tmp_path / "out")
    header = json.loads((tmp_path / "out" / "schedule.jsonl").open().readline())
    cells = {(task, code) for task, codes in header["selection"]["cells"].items() for code in codes}
    assert len(cells) == 203
    asked = {(item.task, item.language) for item in trace.items.values() if item.role is not Role.CANDIDATE}
    assert asked == cells
    languages = {code for _, code in cells} | {item.language for item in trace.candidates("mewslix")}
    assert languages == set(LANGUAGES)
