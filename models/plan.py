"""A plan: many synthetic variants, built in one go, with a catalogue beside them.

A plan is a catalogue without checkpoints: ``[[variant]]`` tables with the same keys, and for each
optionally ``size``, ``seed`` and ``layers`` (as many layers of that size instead of its own, such as
one more for an arm that must be found slower). At the top may stand ``size`` (mini), ``seed`` (0),
``layers`` and ``tokenizer`` (a tokenizer.json, relative to the plan) for all of them; a variant
without a seed gets the plan's plus its place in the file. Rules: a plan is checked whole before
anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.synthetic import Shape, Size, SyntheticError, check_labels, shape_of, write_checkpoint
from models.variant import NONE_YET, CatalogueError, Lineage, Variant, parse_catalogue, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BUILT_BY = ("size", "seed", "layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One checkpoint to be written."""

    variant: Variant
    shape: Shape
    seed: int
    tokenizer_file: Path | None


class _Defaults(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")

    # Not strict: TOML has strings where Python has enumerations.
    size: Annotated[Size, Field(strict=False)] = Size.MINI
    seed: Annotated[int, Field(ge=0)] = 0
    layers: Annotated[int, Field(ge=1, le=48)] | None = None

    def shape(self) -> Shape:
        """Return the shape that is asked for."""
        shape = shape_of(self.size)
        return shape if self.layers is None else replace(shape, num_layers=self.layers)


class _PlanFile(_Defaults):
    model_config = ConfigDict(extra="forbid")

    tokenizer: Annotated[str, Field(min_length=1)] | None = None
    variant: Annotated[list[dict[str, Any]], Field(min_length=1)]


def load_plan(path: Path) -> tuple[Planned, ...]:
    """Read a plan.

    Raises:
        CatalogueError: the file is not a plan, or a variant in it cannot be built.
    """
    document = read_toml(path)
    try:
        file = _PlanFile.model_validate(document)
        own = [
            _Defaults(**{"size": file.size, "layers": file.layers, "seed": file.seed + index, **_pick(table)})
            for index, table in enumerate(file.variant)
        ]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise CatalogueError(f"{path}: {key} = {first['input']!r}: {first['msg']}.") from error
    tables = [_without(table, path) for table in file.variant]
    tokenizer_file = None if file.tokenizer is None else (path.parent / file.tokenizer).resolve()
    if tokenizer_file is not None and not tokenizer_file.is_file():
        raise CatalogueError(f"{path}: the tokenizer {tokenizer_file} is not there; give a tokenizer.json.")
    variants = parse_catalogue({"variant": tables}, path)
    for variant in variants:
        try:
            check_labels(variant.head, variant.labels)
        except SyntheticError as error:
            raise CatalogueError(f"{path}: variant {variant.name!r}: {error}") from error
    return tuple(
        Planned(variant=variant, shape=chosen.shape(), seed=chosen.seed, tokenizer_file=tokenizer_file)
        for variant, chosen in zip(variants, own, strict=True)
    )


def build(plan: tuple[Planned, ...], out: Path) -> Iterator[str]:
    """Write each variant into a directory of its name, then ``catalogue.toml``; yield names as they are done.

    Raises:
        SyntheticError: a directory holds a checkpoint that is not synthetic.
        TokenizerError: the plan's tokenizer cannot be used.
    """
    for planned in plan:
        variant = planned.variant
        write_checkpoint(
            out / variant.name,
            head=variant.head,
            labels=variant.labels,
            size=planned.shape,
            seed=planned.seed,
            tokenizer_file=planned.tokenizer_file,
        )
        yield variant.name
    built = (replace(planned.variant, checkpoint=planned.variant.name) for planned in plan)
    (out / "catalogue.toml").write_text("\n".join(map(as_toml, built)), encoding="utf-8")


def as_toml(variant: Variant) -> str:
    """Return a variant as a ``[[variant]]`` table, leaving out what says nothing."""
    lines = ["[[variant]]", *_keys(variant)]
    if variant.lineage != Lineage():
        lines += ["[variant.lineage]", *_keys(variant.lineage)]
    return "\n".join(lines) + "\n"


def _keys(record: Variant | Lineage) -> list[str]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    said = {
        name: value for name, value in values.items() if name != "lineage" and value not in (None, (), "")
    }
    return [
        f"{name} = {_value(value)}" for name, value in said.items() if value != field_default(record, name)
    ]


def field_default(record: Variant | Lineage, name: str) -> object:
    """Return what a field is when nobody says anything."""
    return next(field.default for field in fields(record) if field.name == name)


def _value(value: str | bool | float | tuple[str, ...]) -> str:  # noqa: FBT001 - a value of the file
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return _quoted(value) if isinstance(value, str) else str(value)


def _quoted(text: str) -> str:
    """Return a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"' + "".join(letter if letter.isprintable() else f"\\U{ord(letter):08X}" for letter in escaped) + '"'
    )


def _pick(table: dict[str, Any]) -> dict[str, Any]:
    return {key: table[key] for key in _BUILT_BY if key in table}


def _without(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a planned table as a catalogue has it: nothing of how it is built, and no checkpoint yet."""
    if "checkpoint" in table:
        raise CatalogueError(f"{path}: variant {table.get('name')!r}: a plan builds checkpoints; name none.")
    return {key: value for key, value in table.items() if key not in _BUILT_BY} | {"checkpoint": NONE_YET}
