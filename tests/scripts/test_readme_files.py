"""The README's list of files says what the files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.readme_files import ROOMS, first_sentence, rewritten

if TYPE_CHECKING:
    from pathlib import Path


def test_the_list_is_current(project_root: Path) -> None:
    readme = (project_root / "README.md").read_text(encoding="utf-8")
    assert rewritten(readme, project_root) == readme, "run python scripts/readme_files.py"


def test_every_file_opens_with_a_sentence(project_root: Path) -> None:
    silent = [
        str(path.relative_to(project_root))
        for room in ROOMS
        for path in (project_root / room).rglob("*.py")
        if not first_sentence(path)
    ]
    assert silent == []


def test_a_sentence_ends_at_its_first_full_stop(tmp_path: Path) -> None:
    file = tmp_path / "noun.py"
    file.write_text('"""What it is, in\none line. And a rule.\n\nMore."""\n', encoding="utf-8")
    assert first_sentence(file) == "What it is, in one line."
