"""Which settings a peer is started with: those that did best when its candidates were tried.

Rules: trials of this machine (``--tune``, kept in ``--var``) come first; without any of a peer the recorded
ones count, which come with the project, each with when and where it was made; a peer that was never tried
gets its first candidate. The settings with the best geometric mean over both mixes win.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers_results import chosen_settings

if TYPE_CHECKING:
    from benchmarks.peers_store import Store
    from benchmarks.peers_systems import Settings, System

RECORDED = Path(__file__).parent / "peers" / "settings.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What was tried on this machine, and what was recorded elsewhere or before."""

    here: Store
    recorded: Store

    def of(self, system: System) -> list[dict[str, Any]]:
        """Return a system's trials."""
        return self.here.under("trial", system.name) or self.recorded.under("trial", system.name)

    def settings(self, system: System) -> Settings:
        """Return what a system is started with."""
        return chosen_settings(self.of(system), system.candidates)
