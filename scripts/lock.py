"""Print the installed versions as pip constraints.

Local version labels (``+cpu``) are dropped: they name a build, and the builds of one
version differ between machines.
"""

from __future__ import annotations

from importlib.metadata import distributions

SKIPPED = {"pip", "setuptools", "wheel", "xlmr-serve", "editables"}


def main() -> None:
    """Print one `name==version` line a package, sorted."""
    found = {d.metadata["Name"].lower().replace("_", "-"): d.version for d in distributions()}
    print("# Versions that were tested together; `make lock` writes this file.")
    for name, version in sorted(found.items()):
        if name not in SKIPPED:
            print(f"{name}=={version.split('+')[0]}")


if __name__ == "__main__":
    main()
