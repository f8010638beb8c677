"""A page that tells of a missed goal says where the reasons are, and there they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from benchmarks.engine_report import reasons

if TYPE_CHECKING:
    from pathlib import Path

_LINK = re.compile(r"missed\.md#([a-z-]+)\)")


def sections(text: str) -> dict[str, str]:
    """Return what stands below each heading, by the anchor that a link names."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return {
        title.lower().replace(" ", "-"): body for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_only_a_missed_goal_has_reasons() -> None:
    assert reasons(["a: met (1.20)", "b: not judged"], "somewhere") == []
    (line,) = reasons(["a: met (1.20)", "b: MISSED (0.70)"], "somewhere")
    assert _LINK.findall(line) == ["somewhere"]


@pytest.fixture
def folder(project_root: Path) -> Path:
    return project_root / "docs" / "benchmarks"


def test_every_page_with_a_missed_goal_says_where_the_reasons_are(folder: Path) -> None:
    found = sections((folder / "missed.md").read_text(encoding="utf-8"))
    pages = {file.name: file.read_text(encoding="utf-8") for file in folder.glob("*.md")}
    for name in (name for name, text in pages.items() if "MISSED" in text):
        (place,) = _LINK.findall(pages[name])
        assert place in found, f"{name}: missed.md has no section {place}"


@pytest.mark.parametrize("report", ["engine", "frontend", "peers", "cost", "scale", "gpu"])
def test_every_report_names_a_section_with_the_reasons(report: str, folder: Path, project_root: Path) -> None:
    source = (project_root / "benchmarks" / f"{report}_report.py").read_text(encoding="utf-8")
    (place,) = re.findall(r"\*reasons\([^()]+, \"([a-z-]+)\"\)", source)
    section = sections((folder / "missed.md").read_text(encoding="utf-8"))[place]
    assert "**Why.**" in section
    assert "**What was tried.**" in section
