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
    "variant": frozenset({"job", "instance", "variant"}),
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


def write_hurried_rules(folder: Path, *, hold: str, interval: str) -> None:
    """Write the rules for a test that has no minutes to wait.

    ``hold``: how long what an alert asks must be so, instead of its minutes. ``interval``: how
    often every group is evaluated. Nothing else differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in RULE_FILES:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            group["interval"] = interval
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = hold
        (folder / path.name).write_text(
            yaml.safe_dump(document, sort_keys=False, width=10_000), encoding="utf-8"
        )


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerts by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, list[str]]:
    """Return each recorded series' expressions; one that has a label of its own a rule has several."""
    found: dict[str, list[str]] = {}
    for rule in rules():
        if "record" in rule:
            found.setdefault(rule["record"], []).append(rule["expr"])
    return found


def recorded_labels() -> dict[str, frozenset[str]]:
    """Return each recorded series' labels, which its name promises."""
    return {
        name: LEVELS[name.partition(":")[0]] | ({"slo"} if ":xlmr_slo_" in name or ":slo_" in name else set())
        for name in recorded()
    }


def read_names(expr: str) -> set[str]:
    """Return the series that an expression reads."""
    return {selector.name for selector in selectors(expr)}
