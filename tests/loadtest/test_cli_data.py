"""`xlmr-load data check`, `fetch` and `stats` as a user meets them."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.datasets.library import Library
from loadtest.datasets.sources import remotes_of
from loadtest.datasets.tasks import TASKS, Task
from tests.loadtest.file_server import FileServer, Served, serving
from tests.loadtest.tiny_data import XNLI_HEADER, squad, write, write_tiny_data, xnli_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from typer.testing import Result


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_data(tmp_path / "data")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as state:
        yield state


def _data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


def test_check_says_of_every_cell_what_is_there_and_where_the_rest_comes_from(data: Path) -> None:
    result = _data("check", data)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines() if line.startswith("  ")]
    cells = {(line[0], line[1]): line for line in lines if line[0] in set(Task)}
    assert set(cells) == {(task.value, code) for task, spec in TASKS.items() for code in spec.languages}
    assert cells["xquad", "en"][2:] == ["there", "1", "items", "gold", "xquad/xquad.en.json"]
    assert cells["xquad", "th"][2] == "missing"
    assert cells["xquad", "th"][3].startswith("https://raw.githubusercontent.com/google-deepmind/xquad/")
    assert cells["panx", "de"][3].startswith("https://www.amazon.com/clouddrive/")
    assert "XNLI is CC BY-NC 4.0" in result.stdout


def test_check_as_json_lists_the_same_cells(data: Path) -> None:
    stocks = json.loads(_data("check", data, "--tasks", "xcopa", "--json").stdout)
    assert {stock["language"]: stock["state"] for stock in stocks} == {
        code: "there" if code in ("et", "sw") else "missing" for code in TASKS[Task.XCOPA].languages
    }


def test_check_names_damage_by_file_and_line_and_fails(data: Path) -> None:
    path = write(data / "panx/en-test", "en:Oslo\tB-LOC\n\nen:ferry\n")
    result = _data("check", data, "--tasks", "panx")
    assert result.exit_code == 2
    assert f"damaged  {path}:3: 1 columns, the first line has 2" in result.stdout


def _serve(
    server: FileServer, task: Task, language: str, content: bytes, *, cuts: tuple[int, ...] = ()
) -> str:
    (remote,) = remotes_of(task, language)
    path = "/" + remote.url.removeprefix("https://")
    server.files[path] = Served(content=content, cuts=list(cuts))
    return path


def _xnli_archive() -> bytes:
    text = "\n".join([XNLI_HEADER, xnli_line("en", "neutral", "It rains.", "It pours.")]) + "\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("XNLI-1.0/xnli.test.tsv", text)
    return buffer.getvalue()


def test_fetch_downloads_over_a_cut_and_then_finds_nothing_to_do(tmp_path: Path, server: FileServer) -> None:
    content = json.dumps(squad(("Da 1901.", [("q", "?", "1901")]))).encode()
    path = _serve(server, Task.XQUAD, "th", content, cuts=(20,))
    folder = tmp_path / "new"
    options = ("--tasks", "xquad", "--languages", "th", "--base-url", server.url)
    result = _data("fetch", folder, *options)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{folder}: 1 files fetched\n"
    assert server.requests[path] == [None, "bytes=20-"]
    assert Library(folder).languages(Task.XQUAD) == ("th",)
    again = _data("fetch", folder, *options)
    assert (again.exit_code, again.stdout) == (0, f"{folder}: nothing to fetch\n")
    assert len(server.requests[path]) == 2


def test_fetch_holds_a_file_to_its_known_checksum(tmp_path: Path, server: FileServer) -> None:
    _serve(server, Task.XQUAD, "en", b"not what was published")
    result = _data("fetch", tmp_path, "--tasks", "xquad", "--languages", "en", "--base-url", server.url)
    assert result.exit_code == 1
    assert "sha256 is" in result.stderr
    assert list((tmp_path / "xquad").iterdir()) == []


def test_fetch_asks_before_a_licence(tmp_path: Path, server: FileServer) -> None:
    path = _serve(server, Task.XNLI, "en", _xnli_archive())
    options = ("--tasks", "xnli", "--base-url", server.url)
    refused = _data("fetch", tmp_path, *options)
    assert refused.exit_code == 2
    assert "XNLI is CC BY-NC 4.0: for non-commercial use only; give --accept-licence xnli" in refused.stderr
    assert path not in server.requests
    agreed = _data("fetch", tmp_path, *options, "--accept-licence", "xnli")
    assert agreed.exit_code == 0, agreed.output
    assert Library(tmp_path).languages(Task.XNLI) == ("en",)


def test_fetch_says_what_a_person_must_do(tmp_path: Path) -> None:
    result = _data("fetch", tmp_path, "--tasks", "panx")
    assert result.exit_code == 2
    assert "not fetched: WikiANN-NER from https://www.amazon.com/" in result.stderr
    assert "save its file 'test' as panx/LANGUAGE-test" in result.stderr


def test_fetch_goes_on_past_a_file_that_is_gone(tmp_path: Path, server: FileServer) -> None:
    content = json.dumps(squad(("Da 1901.", [("q", "?", "1901")]))).encode()
    _serve(server, Task.XQUAD, "th", content)
    result = _data("fetch", tmp_path, "--tasks", "xquad", "--base-url", server.url)
    assert result.exit_code == 1
    assert result.stderr.count("HTTP 404: it is no longer there") == 11
    assert Library(tmp_path).languages(Task.XQUAD) == ("th",)


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    made = Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_stats_count_the_tokens_of_requests(data: Path, tokenizer: Path) -> None:
    result = _data("stats", "--tokenizer", tokenizer, "--data", data, "--tasks", "xquad,lareqa")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    # No special tokens in this tokenizer: "When did it open?" and nine words.
    assert ["xquad", "en", "1", "13.0", "13", "13", "13", "13.0", "384", "0.0%", "1.00", "1.00"] in rows
    # "Când s-a deschis?" and eight.
    assert ["xquad", "ro", "1", "11.0", "11", "11", "11", "11.0", "384", "0.0%", "1.00", "0.85"] in rows
    assert [row[:3] for row in rows if row[:2] == ["lareqa", "candidate"]] == [
        ["lareqa", "candidate", code] for code in ("de", "en")
    ]
    assert "xquad: not there in ar de" in result.stderr


def test_stats_as_json_have_every_figure(data: Path, tokenizer: Path) -> None:
    result = _data(
        "stats", "--tokenizer", tokenizer, "--data", data, "--tasks", "xcopa", "--limit", "1", "--json"
    )
    rows = json.loads(result.stdout)
    assert [(row["task"], row["language"], row["role"]) for row in rows] == [
        ("xcopa", "et", "item"),
        ("xcopa", "sw", "item"),
    ]
    # Three words of premise, "What was the effect?" and a choice of one word, twice.
    assert rows[0]["statistics"]["request"] == {"mean": 16.0, "p50": 16, "p90": 16, "p99": 16}
    assert rows[0]["statistics"]["sequence"]["mean"] == 8
    assert rows[0]["premium"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("stats", "--tokenizer", "nowhere.json"), "nowhere.json: no tokenizer.json that can be read"),
        (("check", "nowhere"), "nowhere: no such folder"),
        (("check", "nowhere", "--tasks", "nli"), "nowhere: no such folder"),
        (("fetch", "new", "--accept-licence", "nli"), "Unknown task 'nli'"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _data(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr
    assert "Traceback" not in result.output
