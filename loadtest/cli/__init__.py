"""`xlmr-load`: one file a command; this one names them.

Rule: a command's file is imported when that command is called. Scoring, statistics and drawing take
seconds to import, and `--help` needs none of them. A test holds the sentences here to the commands' own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

if TYPE_CHECKING:
    from collections.abc import Mapping

# name -> (file, what it holds: a function or a group of commands, its sentence)
COMMANDS: Final[Mapping[str, tuple[str, str, str]]] = {
    "trace": (
        "trace",
        "trace",
        "Build a trace: items, gold answers and a schedule of arrivals, from XTREME-R's data.",
    ),
    "run": (
        "run",
        "run",
        "Replay a trace against a target: an open loop, with latency counted from the intended instants.",
    ),
    "report": (
        "report",
        "report",
        "Write summary.json and report.html again, and print the table of arms and tasks.",
    ),
    "study": (
        "study",
        "study",
        "Run a study's servers, arms and controls, and answer its question with a report.",
    ),
    "ab": ("ab", "ab", "Compare two arms of one running server, in random pairs, with an A/A control first."),
    "aa": (
        "ab",
        "aa",
        "Compare an arm with itself: this machine's noise, and whether anything differs that must not.",
    ),
    "capacity": (
        "ab",
        "capacity",
        "Find the highest rate at which an arm meets a latency objective, with an interval.",
    ),
    "compare": (
        "compare",
        "compare",
        "Compare B with A, pair by pair: ratios, intervals, and a verdict for each measure.",
    ),
    "data": ("data", "app", "Data sets of XTREME-R: what is there, fetching, token counts."),
}


class Commands(TyperGroup):
    """Lists commands by their sentences, and imports the one that is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, _, sentence) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=sentence))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """Return the command that the words name, imported."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed if listed is None else load(args[0]), rest


def load(name: str) -> Any:
    """Import a command, or a group of them, by its name."""
    file, attribute, _ = COMMANDS[name]
    found = getattr(importlib.import_module(f"loadtest.cli.{file}"), attribute)
    if isinstance(found, typer.Typer):
        return get_command(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return get_command(alone)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False)


@app.callback()
def root() -> None:
    """Replay XTREME-R request traces against a service and say what each variant costs and gets right."""


def main() -> None:
    """Run the command line."""
    app()
