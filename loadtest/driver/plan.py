"""What a run sends where, decided before it starts and the same for every worker.

A plan is made once, by whoever talks to the target, and travels as plain values: to
``plan.json`` in the run's folder, and to the workers in a message.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from loadtest.driver.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "plan.json"


class Mode(StrEnum):
    """What decides when a request goes out."""

    OPEN = "open"  # its intended instant
    CLOSED = "closed"  # the end of an earlier one
    OFFLINE = "offline"  # the same, with latency counted from the start


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One run. ``variants``: task -> variant. ``layers``: task -> {layer of the items: layer that is sent}.

    ``schedule_sha256``: of the schedule file, which names the hashes of the others; a worker whose trace
    differs refuses. ``max_inflight``: None in an open loop.
    """

    target: str
    arm: str
    replicate: int
    mode: Mode
    max_inflight: int | None
    timeout_s: float
    variants: Mapping[str, str]
    layers: Mapping[str, Mapping[int, int]]
    schedule_sha256: str

    def as_json(self) -> dict[str, Any]:
        """Return the plan as plain values, with string keys throughout."""
        layers = {
            task: {str(asked): sent for asked, sent in table.items()} for task, table in self.layers.items()
        }
        return asdict(self) | {"mode": str(self.mode), "variants": dict(self.variants), "layers": layers}

    def parameters(self, task: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item's parameters as this plan sends them."""
        sent = dict(parameters)
        layer = self.layers.get(task, {}).get(sent.get("layer", 0))
        return sent if layer is None else sent | {"layer": layer}


def plan_from(values: Mapping[str, Any]) -> Plan:
    """Return the plan that ``as_json`` described."""
    layers = {
        task: {int(asked): sent for asked, sent in table.items()} for task, table in values["layers"].items()
    }
    return Plan(**(dict(values) | {"mode": Mode(values["mode"]), "layers": layers}))


def write_plan(path: Path, plan: Plan) -> None:
    """Write a plan for another process."""
    path.write_text(json.dumps(plan.as_json(), indent=1), encoding="utf-8")


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        UsageError: there is none, or it is no plan.
    """
    try:
        return plan_from(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path} is no plan of a run ({error}).") from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
