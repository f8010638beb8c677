"""What a plain Locust run ends with: its samples, its report, and whether it may be believed.

Both are made by commands of this program in processes of their own, so that the process which
sends neither parses answers nor carries what scoring and statistics need. Exit codes are those
of `xlmr-load run`; what a command says is passed on as it is.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

INVALID = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """``invalid``: nothing may be concluded from the run. ``log``: for Locust's log. ``words``: a table."""

    invalid: bool
    log: str
    words: str


def conclude(out: Path, *, keep: bool) -> Verdict:
    """Make samples and report of the run in ``out``, and return what they say; ``keep``: the folder stays."""
    collected = _command("loadtest.driver", "collect", str(out))
    if collected.returncode:
        return Verdict(invalid=True, log=collected.stderr.strip() or "No samples could be made.", words="")
    judged = _command("loadtest", "report", str(out), "--check")
    if judged.returncode not in (0, INVALID):
        return Verdict(invalid=True, log=judged.stderr.strip() or "No report could be made.", words="")
    words = judged.stdout if keep else judged.stdout.partition("report: ")[0]
    log = collected.stdout.strip() if keep else ""
    return Verdict(invalid=judged.returncode == INVALID, log=log, words=words)


def _command(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words], check=False, capture_output=True, text=True, encoding="utf-8"
    )
