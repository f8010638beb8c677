"""Write the README's list of files: each file's first sentence, taken from the file itself.

``python scripts/readme_files.py`` rewrites the part between the two marks; ``--check`` says whether it is
current and ends with 1 where it is not.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("models", "service", "loadtest")
BEGIN, END = "<!-- files: begin -->", "<!-- files: end -->"


def first_sentence(path: Path) -> str:
    """Return the first paragraph of a module's docstring as one line, up to its first full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(docstring.split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + ("." if stop and not sentence.endswith(".") else "")


def listing(root: Path) -> str:
    """Return the list as Markdown: a room, its folders, their files."""
    lines: list[str] = []
    for room in ROOMS:
        folders: dict[Path, list[Path]] = {}
        for path in sorted((root / room).rglob("*.py")):
            if "__pycache__" not in path.parts and path.name != "__main__.py":
                folders.setdefault(path.parent, []).append(path)
        lines += [f"<details><summary><b>{room}/</b></summary>", ""]
        for folder, files in folders.items():
            own = folder / "__init__.py"
            lines.append(
                f"- **`{folder.relative_to(root)}/`** {first_sentence(own) if own in files else ''}".rstrip()
            )
            lines += [f"  - `{file.name}` {first_sentence(file)}" for file in files if file != own]
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def rewritten(readme: str, root: Path) -> str:
    """Return the README with its list of files made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{listing(root)}{END}{after}"


def main() -> int:
    """Rewrite the README, or check it."""
    path = ROOT / "README.md"
    old = path.read_text(encoding="utf-8")
    new = rewritten(old, ROOT)
    if "--check" in sys.argv[1:]:
        if new != old:
            print("README.md is not current; run python scripts/readme_files.py", file=sys.stderr)
        return int(new != old)
    path.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
