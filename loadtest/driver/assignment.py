"""What a coordinator conducts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from loadtest.driver.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What is run: a plan, the instants of its schedule, and the folder for samples (None: keep none)."""

    plan: Plan
    times_us: Sequence[int]
    out: Path | None
    num_workers: int
    num_warm: int
