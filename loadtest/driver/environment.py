"""Where a run was made: machine, cores, kernel, Python, packages, commit. Read once, before the load."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "xlmr-serve",
    "locust",
    "gevent",
    "geventhttpclient",
    "greenlet",
    "pyzmq",
    "numpy",
    "polars",
    "scipy",
)
_GIT_TIMEOUT_S = 10.0
_SOURCES = Path(__file__).resolve().parents[2]


def describe_environment() -> dict[str, Any]:
    """Return the load generator's environment as plain values; what cannot be told is None."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain") if commit is not None else None
    return {
        "host": socket.gethostname(),
        "machine": platform.machine(),
        "cpu_model": _cpu_model(Path("/proc/cpuinfo")),
        "num_cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "cpu_quota": _first_line(Path("/sys/fs/cgroup/cpu.max")),
        "load_average": list(os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name)) is not None},
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }


def _cpu_model(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip().split("\n")[0]
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """Return what git says of the checkout that this code runs from; None where it is no checkout."""
    if not (_SOURCES / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(_SOURCES), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
