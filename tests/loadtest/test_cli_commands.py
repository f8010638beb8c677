"""The list of commands: quick to show, true to the commands, and every one can be called."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from loadtest.cli import COMMANDS, app, load
from loadtest.datasets.tasks import Task
from loadtest.trace.requests import DEVIATIONS

HEAVY = {"sklearn", "scipy", "statsmodels", "altair", "polars", "numpy", "seqeval", "locust", "gevent"}


def test_listing_the_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from loadtest.cli import app; "
        "done = CliRunner().invoke(app, ['--help']); assert done.exit_code == 0, done.output; "
        "print(*(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_every_command_is_listed_with_its_own_sentence() -> None:
    done = CliRunner().invoke(app, ["--help"])
    shown = " ".join(done.output.replace("│", " ").split())
    for name, (_, _, sentence) in COMMANDS.items():
        assert f"{name} {sentence}" in shown
        assert (load(name).help or "").partition("\n\n")[0] == sentence


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called(name: str) -> None:
    done = CliRunner().invoke(app, [name, "--help"])
    assert done.exit_code == 0
    assert f"Usage: root {name} " in done.output


@pytest.mark.parametrize(
    ("words", "names"),
    [(["trace"], [*Task, *DEVIATIONS]), (["data", "check"], [*Task]), (["data"], ["fetch"])],
)
def test_a_narrow_terminal_shows_every_name_of_a_list(words: list[str], names: list[str]) -> None:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"})
    shown = set(done.output.replace("│", " ").replace(",", " ").replace(".", " ").split())
    assert set(names) <= shown
    assert "completion" not in done.output


def test_a_command_that_is_not_there_is_told_with_its_neighbour() -> None:
    done = CliRunner().invoke(app, ["repport"])
    assert done.exit_code == 2
    assert "No such command 'repport'. Did you mean 'report'?" in " ".join(
        done.output.replace("│", " ").split()
    )


def test_no_words_at_all_show_the_commands() -> None:
    assert "compare" in CliRunner().invoke(app, []).output
