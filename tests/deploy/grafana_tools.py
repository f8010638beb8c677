"""Grafana's types and Prometheus' grammar from npm, installed once for one version of the lock file."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCES = Path(__file__).parent / "grafana_schema"
PINNED = ("package.json", "package-lock.json")
# What npm says when it cannot reach a registry; anything else is a fault of the files.
UNREACHABLE = (
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "ENETUNREACH",
    "EHOSTUNREACH",
)
INSTALL_S = 100
CHECK_S = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTools:
    """A folder with the packages in it."""

    packages: Path

    def type_errors(self, dashboards: Mapping[str, Mapping[str, Any]], folder: Path) -> list[str]:
        """Check dashboards in one compiler run; return its complaints, one a line."""
        for source in SOURCES.iterdir():
            if source.is_file():
                shutil.copy(source, folder)
        (folder / "node_modules").symlink_to(self.packages / "node_modules")
        for name, dashboard in dashboards.items():
            (folder / f"{Path(name).stem}_board.ts").write_text(typescript(dashboard), encoding="utf-8")
        compiler = self.packages / "node_modules" / "typescript" / "bin" / "tsc"
        result = _run(["node", str(compiler), "--pretty", "false", "-p", str(folder)], folder, CHECK_S)
        lines = [line for line in result.stdout.splitlines() if "error TS" in line]
        assert bool(lines) == bool(result.returncode), result.stdout + result.stderr
        return lines

    def refused_queries(self, queries: Iterable[str], folder: Path) -> list[str]:
        """Return the queries that are not PromQL of Prometheus 3."""
        shutil.copy(SOURCES / "promql.mjs", folder)
        (folder / "node_modules").symlink_to(self.packages / "node_modules")
        result = _run(["node", "promql.mjs"], folder, CHECK_S, given=json.dumps(list(queries)))
        assert result.returncode == 0, result.stderr
        refused: list[str] = json.loads(result.stdout)
        return refused


def typescript(dashboard: Mapping[str, Any]) -> str:
    """Write a dashboard as typed constants: each panel by itself, then the rest."""
    rest = {key: value for key, value in dashboard.items() if key != "panels"}
    lines = [
        'import type { Board, Panels } from "./board";',
        f"export const board: Board = {json.dumps(rest)};",
    ]
    for index, panel in enumerate(dashboard["panels"]):
        kind = json.dumps(panel["type"])
        lines.append(f"export const panel{index}: Panels[{kind}] = {json.dumps(panel)};")
    return "\n".join(lines) + "\n"


def installed(cache: Path) -> NodeTools:
    """Return the packages of the lock file, installed unless they are there; skip where that cannot be."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            pytest.skip(f"no {command}: dashboards are not held against Grafana's types here")
    digest = hashlib.sha256(b"".join((SOURCES / name).read_bytes() for name in PINNED)).hexdigest()
    home = cache / f"grafana_schema-{digest[:16]}"
    if not (home / "done").is_file():
        _install(home)
    return NodeTools(packages=home)


def _install(home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    for name in PINNED:
        shutil.copy(SOURCES / name, home)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(home / "npm")]
    result = _run(command, home, INSTALL_S)
    shutil.rmtree(home / "npm", ignore_errors=True)
    if any(word in result.stderr for word in UNREACHABLE):
        pytest.skip("no npm registry can be reached: dashboards are not held against Grafana's types here")
    assert result.returncode == 0, f"npm ci failed:\n{result.stderr}"
    (home / "done").touch()


def _run(
    command: list[str], folder: Path, limit_s: float, given: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, input=given, check=False, capture_output=True, text=True, timeout=limit_s
    )
