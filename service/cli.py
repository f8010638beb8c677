"""`xlmr-serve`: the service as a command.

Rules: its options are the settings, one for one. What cannot be served ends the program with
one line on standard error and exit code 2; a signal ends it with 0 once it has drained.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from service.errors import StartupError
from service.observability.logs import configure_logs
from service.processes.supervisor import supervise
from service.server import serve
from service.settings import Settings, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

_USAGE = 2

# How long an idle thread of torch's thread pool spins before it sleeps. GNU OpenMP spins for milliseconds
# by default, and a forward pass beside any other load on the same cores then took 268 to 832 ms (median,
# 4 layers of 256, 160 tokens, 2 threads on 2 cores at a load of 9) where it takes 42 to 49 ms with this.
_OPENMP_SPINS = "1000"

# Whether the tokenizer has threads of its own: waking them for a pair of sentences costs 230 us of CPU time,
# twice what cutting it does. Requests of many inputs are shared between the service's threads.
_TOKENIZER_THREADS = "false"


def main() -> None:
    """Run the command."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(_command())
    app()


def _command() -> Callable[..., None]:
    """Return the command's function, its parameters made from the settings."""

    def xlmr_serve(**given: str | None) -> None:
        """Serve fine-tuned XLM-R variants over HTTP.

        Every option can also be set in the environment: XLMR_PORT for --port, and so on.
        """
        run(**given)

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=_help(field), metavar="VALUE")],
        )
        for name, field in Settings.model_fields.items()
    ]
    vars(xlmr_serve)["__signature__"] = inspect.Signature(parameters)
    return xlmr_serve


def run(**given: str | None) -> None:
    """Serve with these settings (None: not given), and end the program in its right way."""
    os.environ.setdefault("GOMP_SPINCOUNT", _OPENMP_SPINS)  # read once, when torch is loaded
    os.environ.setdefault("TOKENIZERS_PARALLELISM", _TOKENIZER_THREADS)
    try:
        settings = read_settings(**given)
        configure_logs(level=settings.log_level, form=settings.log_format, stream=sys.stdout)
        has_stopped = serve(settings) if settings.http_workers == 1 else supervise(settings)
    except StartupError as error:
        typer.echo(f"xlmr-serve: {error}", err=True)
        raise typer.Exit(_USAGE) from None
    if not has_stopped:
        # A forward pass still runs; it would crash in an interpreter that is taken down around it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _help(field: FieldInfo) -> str:
    default = "" if field.is_required() or field.default is None else f"  [{field.default}]"
    return f"{field.description}{default}"
