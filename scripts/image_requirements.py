"""Print what an image needs from elsewhere, one requirement a line, from pyproject.toml where it runs.

Dependencies are installed in a layer of their own, before the code is copied: a change of the
code then costs seconds and no download. The load tester imports neither torch nor transformers
(a contract of import-linter holds it to that), so that its image can leave them out. It runs in
a bare Python, so it imports the standard library only.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], extras: list[str], without: list[str]) -> list[str]:
    """Return the dependencies and those of the extras.

    Raises:
        LookupError: an extra or a package is not in the project.
    """
    optional: dict[str, list[str]] = project["optional-dependencies"]
    found: list[str] = list(project["dependencies"])
    for extra in extras:
        if extra not in optional:
            raise LookupError(f"pyproject.toml has no extra {extra!r}; it has {', '.join(optional)}.")
        found += optional[extra]
    names = {requirement: _name(requirement) for requirement in found}
    unknown = set(without) - set(names.values())
    if unknown:
        raise LookupError(f"pyproject.toml does not ask for {', '.join(sorted(unknown))}.")
    return [requirement for requirement in found if names[requirement] not in without]


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


def main() -> int:
    """Print them; return the exit status."""
    parser = argparse.ArgumentParser(description="Print the requirements of an image.")
    parser.add_argument("--extra", action="append", default=[], help="add those of an extra")
    parser.add_argument("--without", action="append", default=[], help="leave out a package")
    arguments = parser.parse_args()
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    try:
        found = requirements(project, arguments.extra, arguments.without)
    except LookupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
