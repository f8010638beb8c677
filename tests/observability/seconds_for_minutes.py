"""The committed rules with every duration shortened, so that what takes days there takes seconds here.

Rules: longer stays longer, and a window keeps several scrapes of one second; a duration that is
not in the table is an error, so that a new one gets its place. Names of recorded series keep
their durations, for they are only names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.deploy.prometheus_rules import RULE_FILES

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = {
    "1m": 2,
    "2m": 3,
    "5m": 5,
    "10m": 6,
    "15m": 15,
    "30m": 18,
    "1h": 22,
    "2h": 26,
    "6h": 32,
    "1d": 45,
    "3d": 60,
}
_DURATION = re.compile(r"(\[|\boffset )(\w+)")


def shortened(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule with its windows, its offsets and its `for` in seconds."""
    changed = rule | {"expr": _DURATION.sub(lambda found: f"{found[1]}{SECONDS[found[2]]}s", rule["expr"])}
    if "for" in rule:
        changed["for"] = f"{SECONDS[rule['for']]}s"
    return changed


def write_rules(folder: Path) -> list[Path]:
    """Write the committed rules, shortened, into a folder."""
    written = []
    for path in RULE_FILES:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            group.pop("interval", None)
            group["rules"] = [shortened(rule) for rule in group["rules"]]
        written.append(folder / path.name)
        written[-1].write_text(yaml.safe_dump(document, width=10_000), encoding="utf-8")
    return written
