"""What a benchmark of the load tester has found so far: a JSON file that grows run by run, and its page.

Rules: each row carries the commit and the moment at which it was measured; a benchmark that was stopped goes
on where it ended, as long as its settings are the same, and else starts afresh and says so; the page says
nothing that the file does not hold.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from loadtest.driver.environment import describe_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

UNFINISHED = 75  # sysexits.h, EX_TEMPFAIL: call again


class LoadRecord:
    """Rows of one benchmark, kept in ``path`` as they come; None keeps none."""

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self.path = path
        self.settings = settings
        self.rows: list[dict[str, Any]] = []
        self.environment = {key: value for key, value in describe_environment().items() if key != "host"}
        self._commit = self.environment["commit"]
        if path is not None and path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            before, now = known.get("settings"), json.loads(json.dumps(settings))
            if before == now:
                self.rows, self.environment = known["rows"], known["environment"]
            else:
                sys.stderr.write(_afresh(path, len(known.get("rows", [])), before or {}, now))

    def has(self, **key: Any) -> bool:
        """Whether a row with these values is there."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row, with when and from which commit it is."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self.rows.append({**row, "at": now, "commit": self._commit})
        self.save()

    def save(self, **more: Any) -> None:
        """Write what there is, and ``more`` beside it, in one step."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record = {"settings": self.settings, "environment": self.environment, "rows": self.rows, **more}
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.path)

    def measured_on(self) -> str:
        """Say in a line on what, when and from which commits the rows are."""
        commits = sorted({str(row["commit"])[:10] for row in self.rows})
        days = sorted(row["at"] for row in self.rows)
        where = f"{self.environment.get('cpu_model')}, {self.environment.get('num_cores')} cores"
        when = f"{days[0]} to {days[-1]}" if days else "never"
        return f"Measured on {where}; {when}; commit {', '.join(commits)}."

    def write_page(self, title: str, *paragraphs: str) -> None:
        """Write the Markdown beside the JSON."""
        if self.path is None:
            return
        found = f"Every repeat, with its environment, is in [{self.path.name}]({self.path.name})."
        tried = ["**A quick try: it runs, and its figures are no result.**"] if self.settings["quick"] else []
        text = "\n\n".join([f"# {title}", *tried, *paragraphs, f"{self.measured_on()} {found}"])
        self.path.with_suffix(".md").write_text(text + "\n", encoding="utf-8")


def _afresh(path: Path, num_rows: int, before: dict[str, Any], now: dict[str, Any]) -> str:
    """Say that rows of other settings are not mixed with new ones, and which settings differ."""
    differ = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    return (
        f"{path} holds {num_rows} rows of other settings ({', '.join(differ)}): they are not mixed with new "
        "ones. Starting afresh; its first new row replaces them.\n"
    )


class Budget:
    """How long a call may take: whether another run like the last one still fits."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._begun_at = self._turned_at = time.monotonic()
        self._longest_s = 0.0

    def allows_another(self) -> bool:
        """Whether one more fits; call it before each."""
        now = time.monotonic()
        self._longest_s = max(self._longest_s, now - self._turned_at)
        self._turned_at = now
        return self._seconds is None or now - self._begun_at + self._longest_s < self._seconds


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table: the first column to the left, figures to the right."""
    rule = [":---", *["---:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *rows))
