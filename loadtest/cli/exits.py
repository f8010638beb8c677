"""How a command ends: its exit codes, and one line on standard error that says why."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

import typer


class ExitCode(IntEnum):
    """Exit codes of ``xlmr-load``."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    OBJECTIVE_MISSED = 3
    REGRESSION = 4
    INVALID = 5
    INCONCLUSIVE = 6


def stop(code: ExitCode, message: str) -> NoReturn:
    """End the command with ``code`` after printing ``message`` on standard error."""
    typer.echo(f"error: {message}" if code is not ExitCode.OK else message, err=True)
    raise typer.Exit(int(code))


def note(message: str) -> None:
    """Tell the user something that is no error, on standard error."""
    typer.echo(message, err=True)
