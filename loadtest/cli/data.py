"""`xlmr-load data`: what data sets are there, fetching them, and their token statistics."""

from __future__ import annotations

import typer

from loadtest.cli.data_check import check
from loadtest.cli.data_fetch import fetch
from loadtest.cli.data_stats import stats

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Data sets of XTREME-R: what is there, fetching, token counts.",
)
app.command()(check)
app.command()(fetch)
app.command()(stats)
