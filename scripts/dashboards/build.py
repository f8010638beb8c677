"""Write the dashboards as Grafana reads them: `python -m scripts.dashboards.build`.

The same code gives the same bytes; a test holds the committed files to that, and ``--check``
says which of them are not what the code gives.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from scripts.dashboards.batching_board import batching_board
from scripts.dashboards.gpu_board import gpu_board
from scripts.dashboards.load_board import load_board
from scripts.dashboards.service_board import service_board
from scripts.dashboards.variants_board import variants_board

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "grafana" / "dashboards"
BOARDS = {
    "service.json": service_board,
    "variants.json": variants_board,
    "batching.json": batching_board,
    "gpu.json": gpu_board,
    "load.json": load_board,
}


def dashboard_files() -> Iterator[tuple[str, str]]:
    """Yield each file's name and text."""
    for name, board in BOARDS.items():
        text = json.dumps(board().build(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        yield name, text + "\n"


def main() -> int:
    """Write the files, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description="Write Grafana's dashboards.")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to (default: deploy's)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    if arguments.check:
        stale = [name for name, text in dashboard_files() if not _holds(folder / name, text)]
        for name in stale:
            print(f"{folder / name} is not current; run: python -m scripts.dashboards.build", file=sys.stderr)
        return 1 if stale else 0
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in dashboard_files():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)
    return 0


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    raise SystemExit(main())
