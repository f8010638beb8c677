"""XNLI: premise, hypothesis, label.

Upstream, ``xnli.test.tsv`` holds every language, with labels; columns as in its header.
XTREME's ``test-{language}.tsv`` holds premise TAB hypothesis, and no label: the
benchmark's own reader then invents ``neutral`` for each, here there is no gold.
XTREME writes its files with a csv writer and reads them without quoting; so does this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.datasets.examples import DataError, PairExample
from loadtest.datasets.tasks import NLI_LABELS, TASKS, Task

if TYPE_CHECKING:
    from loadtest.datasets.files import TextFile

_UPSTREAM_START = "language\tgold_label\t"
_UPSTREAM_COLUMNS = 8  # those read; the file has more
_STRIPPED_COLUMNS = (2, 3)


def read_upstream(file: TextFile) -> dict[str, list[PairExample]]:
    """Return the examples of every language in the upstream file.

    Raises:
        DataError: no header, too few columns, an unknown language or label.
    """
    lines = file.lines()
    if not lines or not lines[0].startswith(_UPSTREAM_START):
        raise DataError(file.path, "no XNLI header; expected 'language', 'gold_label', ..", line=1)
    known = TASKS[Task.XNLI].languages
    examples: dict[str, list[PairExample]] = {}
    for number, line in enumerate(lines[1:], start=2):
        columns = line.split("\t")
        if len(columns) < _UPSTREAM_COLUMNS:
            problem = f"{len(columns)} columns; expected at least {_UPSTREAM_COLUMNS}"
            raise DataError(file.path, problem, line=number)
        language = columns[0].strip()
        if language not in known:
            problem = f"unknown language {language!r}; XNLI has {' '.join(known)}"
            raise DataError(file.path, problem, line=number)
        example = PairExample(
            premise=columns[6].strip(),
            hypothesis=columns[7].strip(),
            label=_label(columns[1], file, number),
        )
        examples.setdefault(language, []).append(example)
    return examples


def read_stripped(file: TextFile) -> list[PairExample]:
    """Return the examples of one language as XTREME lays them out.

    Raises:
        DataError: a line has neither two nor three columns, or an unknown label.
    """
    examples = []
    for number, line in enumerate(file.lines(), start=1):
        columns = line.split("\t")
        if len(columns) not in _STRIPPED_COLUMNS:
            problem = f"{len(columns)} columns; expected premise TAB hypothesis, and a label if there is one"
            raise DataError(file.path, problem, line=number)
        label = _label(columns[2], file, number) if len(columns) == max(_STRIPPED_COLUMNS) else None
        examples.append(PairExample(premise=columns[0], hypothesis=columns[1], label=label))
    return examples


def _label(text: str, file: TextFile, number: int) -> str:
    label = "contradiction" if text.strip() == "contradictory" else text.strip()
    if label not in NLI_LABELS:
        raise DataError(file.path, f"label {label!r}; known are {', '.join(NLI_LABELS)}", line=number)
    return label
