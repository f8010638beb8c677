"""Everything that the load tester must show of itself, in one go; `make bench-load`.

    python benchmarks/bench_load.py [--quick] [--out docs/benchmarks]

Runs each part as a program of its own, one after the other: rates and lateness against a null server, queues
against closed forms, a stall, and the calibration of every interval. Writes load.md (the tables as printed)
and load.json (every repeat, with environment, commit and commands). ``--quick`` tries every part in about two
minutes; its figures are no result and say so. Exit status 1 where a part failed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from loadtest.driver.environment import describe_environment

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One program: its options for a result, and for a try."""

    name: str
    title: str
    full: tuple[str, ...] = ()
    quick: tuple[str, ...] = ("--quick",)


PARTS = (
    Part(
        name="rate",
        title="Rates that one core sends on time",
        quick=("--rates", "500,1000", "--seconds", "4", "--repeats", "1"),
    ),
    Part(name="queues", title="Queues against their closed forms"),
    Part(name="stall", title="A stall, in an open and in a closed loop"),
    Part(name="statistics", title="Coverage of every interval", quick=("--trials", "50")),
)


def execute(part: Part, folder: Path, *, quick: bool, console: Console) -> dict[str, Any]:
    """Run a part, show what it prints, and return all of it."""
    script = f"bench_{part.name}.py" if part.name == "statistics" else f"bench_load_{part.name}.py"
    values = folder / f"{part.name}.json"
    words = [f"benchmarks/{script}", *(part.quick if quick else part.full)]
    console.rule(part.title)
    done = subprocess.run(
        [sys.executable, *words, "--out", str(values)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    console.print(done.stdout, markup=False, highlight=False, soft_wrap=True)
    return {
        "title": part.title,
        "command": f"python {' '.join(words)}",
        "status": done.returncode,
        "printed": done.stdout,
        "values": json.loads(values.read_text(encoding="utf-8")) if values.is_file() else None,
    }


def page_of(record: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    environment = record["environment"]
    commit = environment.get("commit") or "unknown"
    changed = " with changes" if environment.get("dirty") else ""
    where = f"{environment.get('cpu_model')}, {environment.get('num_cores')} cores"
    lines = [
        "# The load tester, measured",
        "",
        f"{record['at']}, commit {commit}{changed}, {where}.",
        "Every repeat, with the whole environment, is in [load.json](load.json).",
        "",
    ]
    if record["quick"]:
        lines += ["**A quick try: the parts run, and their figures are no result.**", ""]
    for part in record["parts"]:
        status = "" if part["status"] == 0 else f" (ended with status {part['status']})"
        lines += [f"## {part['title']}", "", f"`{part['command']}`{status}", "", "```text"]
        lines += [part["printed"].rstrip(), "```", ""]
    return "\n".join(lines)


def main() -> int:
    """Run every part and write what they found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments = parser.parse_args()
    console = Console()
    environment = {name: value for name, value in describe_environment().items() if name != "host"}
    with tempfile.TemporaryDirectory(prefix="bench_load_") as folder:
        parts = [execute(part, Path(folder), quick=arguments.quick, console=console) for part in PARTS]
    record = {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": arguments.quick,
        "environment": environment,
        "parts": parts,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "load.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "load.md").write_text(page_of(record), encoding="utf-8")
    console.print(f"results: {arguments.out / 'load.md'}", soft_wrap=True)
    return int(any(part["status"] for part in parts))


if __name__ == "__main__":
    sys.exit(main())
