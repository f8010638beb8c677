"""The published JSON Schemas of `summary.json` and `study.json`; run this file to write them anew."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from loadtest.report.records import Summary
from loadtest.report.study_record import StudyRecord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.report.records import Record

SCHEMAS: Mapping[str, type[Record]] = MappingProxyType(
    {"summary.schema.json": Summary, "study.schema.json": StudyRecord}
)


def schema_text(model: type[Record]) -> str:
    """Return a record's JSON Schema as its file holds it; it describes what is written."""
    schema = model.model_json_schema(mode="serialization", by_alias=True)
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def write_schemas(folder: Path) -> None:
    """Write every schema into ``folder``."""
    for name, model in SCHEMAS.items():
        (folder / name).write_text(schema_text(model), encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(__file__).parent)
