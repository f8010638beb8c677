"""A server that outlived its study: remembered on disk while it runs, ended by the next sitting.

A study that is killed (SIGKILL, out of memory) cannot end its server, which would go on taking the cores that
the resumed study measures on. Rule: only the process that was started is ended, known by its id and by the
moment of its start, since ids are used again.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from pathlib import Path

# Where `starttime` stands in /proc/PID/stat behind the command's closing bracket. Source: proc(5), field 22.
_START_FIELD = 19


def remember(note: Path, pid: int) -> None:
    """Write down a server that has just been started."""
    note.write_text(json.dumps({"pid": pid, "started": _started(pid)}) + "\n", encoding="utf-8")


def forget(note: Path) -> None:
    """Strike out a server that has ended."""
    note.unlink(missing_ok=True)


def end_left_over(note: Path, timeout_s: float) -> bool:
    """End the server that an earlier sitting left behind, and say whether there was one."""
    try:
        written = json.loads(note.read_text(encoding="utf-8"))
        pid, started = int(written["pid"]), written["started"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    found = started is not None and _started(pid) == started
    if found:
        with contextlib.suppress(ProcessLookupError):
            _end(pid, timeout_s)
    forget(note)
    return found


def _end(pid: int, timeout_s: float) -> None:
    watched = os.pidfd_open(pid)
    try:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(watched, sign)
            if select.select([watched], [], [], timeout_s)[0]:
                return
    finally:
        os.close(watched)


def _started(pid: int) -> int | None:
    """Return when a process was started, in ticks since the machine's start; None where it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[_START_FIELD])
