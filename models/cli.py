"""The command ``xlmr-models``: list a catalogue, write synthetic checkpoints, look into one.

Rules: answers go to standard output, progress and complaints to standard error; whatever a
user can get wrong ends in one line and exit code 2, never in a traceback.
"""

# Imports of torch's side stand inside the commands: they take seconds, and list needs none.
# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from models.tokenizer import TokenizerError
from models.variant import CatalogueError, HeadKind, Variant, load_catalogue

if TYPE_CHECKING:
    from models.model import Model

_SHIPPED = Path(__file__).parent / "catalogue.toml"

app = typer.Typer(
    help="What is served: catalogues, checkpoints, and synthetic ones for measuring speed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class UsageError(Exception):
    """The command cannot do what its arguments ask; ``str(error)`` is one line."""


@app.command("list")
def list_variants(
    catalogue: Annotated[
        Path, typer.Option(help="A catalogue.toml.", show_default="the one of this package")
    ] = _SHIPPED,
) -> None:
    """List the variants of a catalogue, with their lineage and what is known of a checkpoint."""
    table = Table(title=str(catalogue), title_justify="left")
    for column in ("variant", "head", "checkpoint", "lineage", "tasks", "languages", "note"):
        table.add_column(column, overflow="fold")
    for variant in load_catalogue(catalogue):
        lineage = variant.lineage
        cells = (
            variant.name,
            variant.head.value,
            variant.checkpoint,
            lineage.system,
            ", ".join(lineage.tasks),
            ", ".join(lineage.languages),
            variant.note,
        )
        table.add_row(*map(escape, cells))
    # A table cut to 80 columns cannot be read; where nobody looks, it is for a file or a pipe.
    Console(width=None if sys.stdout.isatty() else 240).print(table)


@app.command()
def synth(  # noqa: PLR0913, PLR0917 - options of a command
    out: Annotated[Path, typer.Option(help="The directory to write into.")],
    size: Annotated[str, typer.Option(help="mini (4 layers of 256), base or large.")] = "mini",
    head: Annotated[HeadKind | None, typer.Option(help="What is asked of the encoder.")] = None,
    labels: Annotated[str, typer.Option(help="Of classify and tag: A,B,...")] = "",
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A tokenizer.json; by default the bundled one.")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="A plan of many variants (TOML), instead of the rest.")
    ] = None,
) -> None:
    """Write checkpoints of true architecture with random weights: for speed, their answers mean nothing."""
    if plan is not None:
        if head is not None or labels or tokenizer is not None:
            raise UsageError(
                "--plan says itself which heads, labels and tokenizer; leave the other options out."
            )
        _build_plan(plan, out)
        return
    if head is None:
        raise UsageError(f"say which --head ({', '.join(HeadKind)}), or give a --plan.")
    from models.synthetic import NOTICE, Size, SyntheticError, write_checkpoint

    if size not in tuple(Size):
        raise UsageError(f"--size {size} is unknown; known are {', '.join(Size)}.")
    try:
        with _progress() as progress:
            progress.add_task(f"{size} {head.value}", total=None)
            write_checkpoint(
                out,
                head=head,
                labels=tuple(label.strip() for label in labels.split(",")) if labels else (),
                size=Size(size),
                seed=seed,
                tokenizer_file=tokenizer,
            )
    except SyntheticError as error:
        raise UsageError(str(error)) from error
    _say(f"{out}\n{NOTICE}")


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A checkpoint in Hugging Face's layout.")],
    head: Annotated[
        HeadKind | None, typer.Option(help="By default the one that it was trained with.")
    ] = None,
    allow_bin: Annotated[bool, typer.Option(help="Read .bin files where there are no safetensors.")] = False,  # noqa: FBT002
) -> None:
    """Load a checkpoint and say what it is: architecture, head, labels, digest."""
    from models.checkpoint import CheckpointError, load_model
    from models.names import bare_name, kind_of
    from models.weights import WeightsError, read_weights

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a directory.")
    try:
        with _progress() as progress:
            progress.add_task(f"reading {folder}", total=None)
            stored = read_weights(folder, allow_bin=allow_bin)
            kind = head or kind_of({bare_name(name): tuple(tensor.shape) for name, tensor in stored.items()})
            variant = Variant(
                name=folder.name, head=kind, checkpoint=str(folder.resolve()), allow_bin=allow_bin
            )
            model = load_model(variant)
    except (CheckpointError, WeightsError) as error:
        raise UsageError(str(error)) from error
    _print_model(model, {str(tensor.dtype).removeprefix("torch.") for tensor in stored.values()})


def _build_plan(path: Path, out: Path) -> None:
    from models.plan import build, load_plan
    from models.synthetic import NOTICE, SyntheticError

    plan = load_plan(path)
    try:
        with _progress() as progress:
            task = progress.add_task("variants", total=len(plan))
            for name in build(plan, out):
                progress.update(task, advance=1, description=name)
    except SyntheticError as error:
        raise UsageError(str(error)) from error
    _say(f"{out / 'catalogue.toml'}: {len(plan)} variants\n{NOTICE}")


def _print_model(model: Model, dtypes: set[str]) -> None:
    from models.synthetic import NOTICE

    parameters = sum(tensor.numel() for tensor in model.tensors.values())
    rows = {
        "head": model.kind.value,
        "labels": ", ".join(model.labels) or "none",
        "layers": f"{model.num_layers} x {model.hidden_size}",
        "vocabulary": f"{model.vocab_size:,}",
        "longest sequence": f"{model.max_positions} tokens, special tokens included",
        "parameters": f"{parameters:,}",
        "stored as": ", ".join(sorted(dtypes)),
        "pooler": "yes" if model.has_pooler or model.kind is HeadKind.CHOOSE else "no",
        "tokenizer": str(model.tokenizer_file or "none"),
        "sha256": model.digest,
        "synthetic": f"yes: {NOTICE}" if model.synthetic else "no",
    }
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(name, escape(value))
    Console(width=None if sys.stdout.isatty() else 240).print(table)


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _say(text: str) -> None:
    Console(soft_wrap=True).print(escape(text), highlight=False)


def main() -> None:
    """Run the command; end with exit code 2 and one line where the user can put it right."""
    try:
        app()
    except (UsageError, CatalogueError, TokenizerError, OSError) as error:
        Console(stderr=True, soft_wrap=True).print(f"xlmr-models: {escape(str(error))}", highlight=False)
        raise SystemExit(2) from error
