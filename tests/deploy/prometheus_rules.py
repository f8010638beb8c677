"""The committed rules, read as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.deploy.promql import selectors

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "prometheus"
RULE_FILES = tuple(sorted((FOLDER / "rules").glob("*.yml")))
# Labels that a recorded series has, by the first part of its name.
LEVELS = {
    "xlmr": frozenset[str](),
    "job": frozenset({"job"}),
    "instance": frozenset({"job", "instance"}),
}


def groups() -> list[str]:
    """Return the names of the groups in the order in which they read each other's series."""
    return [
        group["name"]
        for stem in ("objectives", "recording", "alerts")
        for group in yaml.safe_load((FOLDER / "rules" / f"{stem}.yml").read_text(encoding="utf-8"))["groups"]
    ]


def rules() -> list[dict[str, Any]]:
    """Return every rule of every file."""
    return [
        rule
        for path in RULE_FILES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, str]:
    """Return each recorded series' expression."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def recorded_labels() -> dict[str, frozenset[str]]:
    """Return each recorded series' labels, which its name promises."""
    return {name: LEVELS[name.partition(":")[0]] for name in recorded()}


def read_names(expr: str) -> set[str]:
    """Return the series that an expression reads."""
    return {selector.name for selector in selectors(expr)}
