"""What a variant is, and the catalogue file that names them.

A *variant* is a checkpoint, a head and a dtype under one name; its *lineage* says which
intermediate tasks, in which languages, stand behind the checkpoint. Rules: this file
imports neither torch nor transformers, so that a process that only speaks HTTP can read a
catalogue; paths in a catalogue are relative to the catalogue; a catalogue that cannot be
served as written is refused in one line that says which variant, what, and what to do.
The records and the reader of their file stand together: one is the other's schema.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

NONE_YET = "none yet"

# A name stands in URL paths and in metric labels.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# The hub's own form, owner/name; anything else is taken for a path.
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class CatalogueError(Exception):
    """A catalogue cannot be served as written; ``str(error)`` is one line for a user's eyes."""


class HeadKind(StrEnum):
    """What is asked of the encoder."""

    CLASSIFY = "classify"
    CHOOSE = "choose"
    TAG = "tag"
    SPAN = "span"
    EMBED = "embed"


class Pooling(StrEnum):
    """How the vectors of a sequence become one."""

    MEAN = "mean"
    CLS = "cls"
    POOLER = "pooler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Which training stands between the base model and the task.

    ``system``: the family of training, for example ``english-intermediate``.
    ``tasks``, ``languages``: of the intermediate stage; empty where there was none.
    ``source``: the publication, or whoever trained it.
    """

    system: str = "unspecified"
    tasks: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One thing that can be served, by name.

    ``checkpoint``: an absolute directory, a hub id (owner/name), or NONE_YET.
    ``tokenizer``: an absolute tokenizer.json, or a hub id that has one; None for the checkpoint's own.
    ``labels``: in order of the classifier's rows; empty for the checkpoint's own ``id2label``.
    ``revision``: of a hub repository. ``sha256``: the digest that ``xlmr-models inspect`` prints.
    ``dtype``: float32, float16, bfloat16 or int8. ``allow_bin``: whether a checkpoint without
    safetensors may be read from its .bin files. ``note``: for people.
    """

    name: str
    head: HeadKind
    checkpoint: str
    base: str = ""
    lineage: Lineage = Lineage()
    labels: tuple[str, ...] = ()
    tokenizer: str | None = None
    revision: str | None = None
    sha256: str | None = None
    dtype: str | None = None
    max_tokens: int | None = None
    pooling: Pooling | None = None
    layer: int | None = None
    normalize: bool | None = None
    allow_bin: bool = False
    note: str = ""

    @property
    def available(self) -> bool:
        """Whether there is a checkpoint to load."""
        return self.checkpoint != NONE_YET

    @property
    def is_local(self) -> bool:
        """Whether the checkpoint is a directory rather than a hub id."""
        return Path(self.checkpoint).is_absolute()


class _StrictTable(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _LineageTable(_StrictTable):
    system: str = "unspecified"
    tasks: list[str] = []
    languages: list[str] = []
    source: str = ""


class _VariantTable(_StrictTable):
    name: Annotated[str, Field(pattern=_NAME)]
    # Not strict: TOML has strings where Python has enumerations.
    head: Annotated[HeadKind, Field(strict=False)]
    checkpoint: Annotated[str, Field(min_length=1)]
    base: str = ""
    lineage: _LineageTable = _LineageTable()
    labels: list[str] = []
    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    revision: Annotated[str, Field(min_length=1)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    dtype: Literal["float32", "float16", "bfloat16", "int8"] | None = None
    # <s>, one piece, </s>
    max_tokens: Annotated[int, Field(ge=3)] | None = None
    pooling: Annotated[Pooling, Field(strict=False)] | None = None
    layer: Annotated[int, Field(ge=0)] | None = None
    normalize: bool | None = None
    allow_bin: bool = False
    note: str = ""


class _CatalogueFile(_StrictTable):
    variant: Annotated[list[_VariantTable], Field(min_length=1)]


def load_catalogue(path: Path) -> tuple[Variant, ...]:
    """Read every variant of a catalogue, in the file's order.

    Variants without a checkpoint (``checkpoint = "none yet"``) are read like the others:
    they can be listed, and whoever loads one is refused.

    Raises:
        CatalogueError: the file is missing, is not TOML, has an unknown key or head, names a
            variant twice, or points to a directory or file that is not there.
    """
    return parse_catalogue(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        CatalogueError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CatalogueError(f"{path} cannot be read ({reason}).") from error
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{path} is not TOML: {error}.") from error


def parse_catalogue(document: dict[str, Any], path: Path) -> tuple[Variant, ...]:
    """Turn the content of a catalogue into variants; ``path`` is where it stands.

    Raises:
        CatalogueError: as ``load_catalogue``.
    """
    try:
        file = _CatalogueFile.model_validate(document)
    except ValidationError as error:
        raise CatalogueError(f"{path}: {_first_complaint(error, document)}") from error
    variants = tuple(_resolve(table, path) for table in file.variant)
    seen: set[str] = set()
    for variant in variants:
        if variant.name in seen:
            raise CatalogueError(f"{path}: variant {variant.name!r} stands twice; give each its own name.")
        seen.add(variant.name)
    return variants


def _first_complaint(error: ValidationError, document: dict[str, Any]) -> str:
    """Say the first thing that is wrong in one sentence, naming the variant where it has a name."""
    first = error.errors(include_url=False)[0]
    place = list(first["loc"])
    where = ""
    if len(place) > 1 and place[0] == "variant" and isinstance(place[1], int):
        table = document["variant"][place[1]]
        name = table.get("name") if isinstance(table, dict) else None
        where = f"variant {name!r}: " if name else f"variant number {place[1] + 1}: "
        place = place[2:]
    key = ".".join(str(part) for part in place)
    match first["type"]:
        case "extra_forbidden":
            tables = _LineageTable if len(place) > 1 else _VariantTable if where else _CatalogueFile
            return f"{where}unknown key {key!r}; known are {', '.join(tables.model_fields)}."
        case "missing":
            return f"{where}the key {key!r} is missing."
        case _:
            return f"{where}{key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}."


def _resolve(table: _VariantTable, path: Path) -> Variant:
    """Turn one table of the file into a variant, its paths made absolute and checked."""
    where = f"{path}: variant {table.name!r}"
    if table.head is not HeadKind.EMBED and (table.pooling, table.layer, table.normalize) != (
        None,
        None,
        None,
    ):
        raise CatalogueError(
            f'{where}: pooling, layer and normalize belong to head = "embed", not {table.head.value}.'
        )
    if len(set(table.labels)) != len(table.labels):
        raise CatalogueError(f"{where}: a label stands twice in {table.labels}.")
    plain = table.model_dump(exclude={"lineage", "labels", "checkpoint", "tokenizer"})
    lineage = table.lineage
    return Variant(
        **plain,
        lineage=Lineage(
            system=lineage.system,
            tasks=tuple(lineage.tasks),
            languages=tuple(lineage.languages),
            source=lineage.source,
        ),
        labels=tuple(table.labels),
        checkpoint=_resolve_checkpoint(table.checkpoint, path.parent, where),
        tokenizer=_resolve_tokenizer(table.tokenizer, path.parent, where),
    )


def _resolve_checkpoint(checkpoint: str, beside: Path, where: str) -> str:
    if checkpoint == NONE_YET:
        return checkpoint
    folder = (beside / Path(checkpoint).expanduser()).resolve()
    if (folder / "config.json").is_file():
        return str(folder)
    if folder.is_dir():
        raise CatalogueError(f"{where}: the checkpoint {folder} has no config.json.")
    if _HUB_ID.fullmatch(checkpoint):
        return checkpoint
    raise CatalogueError(
        f"{where}: the checkpoint {folder} is not there; "
        f"give a directory, a hub id (owner/name) or {NONE_YET!r}."
    )


def _resolve_tokenizer(tokenizer: str | None, beside: Path, where: str) -> str | None:
    if tokenizer is None:
        return None
    file = (beside / Path(tokenizer).expanduser()).resolve()
    if file.is_file():
        return str(file)
    if _HUB_ID.fullmatch(tokenizer) and not tokenizer.endswith(".json"):
        return tokenizer
    raise CatalogueError(
        f"{where}: the tokenizer {file} is not there; "
        "give a tokenizer.json, or a hub id (owner/name) that has one."
    )
