"""`xlmr-load compare` as a CI gate: its exit codes, and the files that CI pages show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from loadtest.cli import app
from loadtest.report.summary import save_summary
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


def write_runs(folder: Path, ratio: float, *, num: int = 6, cores: int = 2, valid: bool = True) -> str:
    """Write replicates ``ratio`` times as slow as ten milliseconds, each a hair apart."""
    for k in range(num):
        seconds = 0.01 * ratio * (1 + 0.002 * (-1) ** k)
        made = summary(group(seconds, 3 * seconds, in_time=1.0), reasons=() if valid else ("late",))
        about = {"trace": {"law": "poisson:40", "seed": k}, "environment": {"num_cores": cores}}
        (folder / str(k)).mkdir(parents=True)
        save_summary(folder / str(k), made.model_copy(update=about))
    return str(folder)


def compare(tmp_path: Path, new: str, *options: str) -> Result:
    old = write_runs(tmp_path / "old", 1.0, num=len(list((tmp_path / "new").iterdir())))
    files = ("--markdown", str(tmp_path / "ci.md"), "--junit", str(tmp_path / "ci.xml"))
    return CliRunner().invoke(app, ["compare", old, new, *files, *options])


@pytest.mark.parametrize(
    ("ratio", "num", "options", "code", "head", "counts"),
    [
        (1.0, 6, ["--strict"], 0, "## ✅ NO REGRESSION: B over A, 6 pairs", ("0", "0")),
        (1.2, 6, [], 4, "## ❌ REGRESSION: B over A, 6 pairs", ("3", "0")),
        (1.2, 6, ["--fail-above", "1.1"], 4, "## ❌ REGRESSION: B over A, 6 pairs", ("3", "0")),
        (1.2, 1, [], 0, "INCONCLUSIVE: B over A, 1 pair", ("0", "4")),
        (1.2, 1, ["--strict"], 6, "INCONCLUSIVE: B over A, 1 pair", ("0", "4")),
        (1.2, 1, ["--fail-above", "1.1"], 4, "## ❌ REGRESSION: B over A, 1 pair", ("3", "1")),
    ],
)
def test_codes_and_files_agree(
    tmp_path: Path,
    ratio: float,
    num: int,
    options: list[str],
    code: int,
    head: str,
    counts: tuple[str, str],
) -> None:
    done = compare(tmp_path, write_runs(tmp_path / "new", ratio, num=num), *options)
    assert done.exit_code == code, done.output
    text = (tmp_path / "ci.md").read_text(encoding="utf-8")
    assert head in text.splitlines()[0]
    assert f"| p95 latency | {ratio:.3f} |" in text
    (suite,) = ET.fromstring((tmp_path / "ci.xml").read_text(encoding="utf-8"))  # noqa: S314 - made here
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", *counts)


def test_unlike_machines_are_refused_unless_insisted_on_and_then_told(tmp_path: Path) -> None:
    new = write_runs(tmp_path / "new", 1.0, cores=8)
    refused = compare(tmp_path, new)
    assert refused.exit_code == 2
    assert "environment.num_cores: 2 against 8" in refused.output
    assert not (tmp_path / "ci.md").exists()
    files = ("--markdown", str(tmp_path / "ci.md"), "--junit", str(tmp_path / "ci.xml"))
    forced = CliRunner().invoke(app, ["compare", str(tmp_path / "old"), new, "--force", *files])
    assert forced.exit_code == 0, forced.output
    assert "> unlike: environment.num\\_cores: 2 against 8" in (tmp_path / "ci.md").read_text("utf-8")
    (suite,) = ET.fromstring((tmp_path / "ci.xml").read_text(encoding="utf-8"))  # noqa: S314 - made here
    skipped = suite.findall("testcase/skipped")
    assert "unlike: environment.num_cores: 2 against 8" in [one.get("message") for one in skipped]


def test_a_factor_of_the_callers_own_fails_beside_a_regression(tmp_path: Path) -> None:
    """p50 is surely slower; p95 is twice as slow on average, and scatters too much for a verdict."""
    for side in ("old", "new"):
        for k, scatter in enumerate((0.2, 8.0, 0.5, 9.0)):
            p95 = scatter * 2 if side == "new" and k % 2 else 1.0
            made = summary(group(0.01 * (1.3 if side == "new" else 1) * (1 + 0.001 * k), 0.03 * p95))
            (tmp_path / side / str(k)).mkdir(parents=True)
            save_summary(tmp_path / side / str(k), made)
    junit = tmp_path / "ci.xml"
    words = ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--junit", str(junit)]
    done = CliRunner().invoke(app, [*words, "--fail-above", "1.5"])
    assert done.exit_code == 4, done.output
    (suite,) = ET.fromstring(junit.read_text(encoding="utf-8"))  # noqa: S314 - made here
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failed == ["p50 latency", "p95 latency", "p99 latency"]


def test_runs_that_are_not_valid_are_no_comparison(tmp_path: Path) -> None:
    assert compare(tmp_path, write_runs(tmp_path / "new", 1.0, valid=False)).exit_code == 5


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = compare(tmp_path, write_runs(tmp_path / "new", 1.0), "--junit", str(tmp_path / "no" / "ci.xml"))
    assert done.exit_code == 2
    assert "cannot be written (No such file or directory)" in done.output
