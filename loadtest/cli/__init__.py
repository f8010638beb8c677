"""`xlmr-load`: one file a command; this one puts them together."""

from __future__ import annotations

import typer

from loadtest.cli.ab import aa, ab, capacity
from loadtest.cli.compare import compare
from loadtest.cli.data import app as data_app
from loadtest.cli.report import report
from loadtest.cli.run import run
from loadtest.cli.study import study
from loadtest.cli.trace import trace

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
app.command()(trace)
app.command()(run)
app.command()(report)
app.command()(study)
app.command()(ab)
app.command()(aa)
app.command()(capacity)
app.command()(compare)
app.add_typer(data_app, name="data")


@app.callback()
def root() -> None:
    """Replay XTREME-R request traces against a service and say what each variant costs and gets right."""


def main() -> None:
    """Run the command line."""
    app()
