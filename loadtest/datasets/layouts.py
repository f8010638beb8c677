"""Where a task's files lie: official layouts and the ones that XTREME's scripts leave behind.

A table, read from the top: the first layout that has a language provides it, and only
it. Upstream comes first, since it has the labels that XTREME strips; in particular UDPOS
is read from CoNLL-U where there is some and else from TSV, never from both. Which
languages to look for comes from the task; a folder is never listed to learn them.

``{l}`` two-letter code, ``{lll}`` Tatoeba's ISO 639-3, ``{name}`` TyDiQA's English name.
``{ud}`` release of Universal Dependencies. A pattern with ``*`` may match several files,
which then follow each other by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from loadtest.datasets.examples import DataError
from loadtest.datasets.squad import LANGUAGE_NAMES
from loadtest.datasets.tasks import TASKS, Task
from loadtest.datasets.tatoeba import ISO_639_3

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Format(StrEnum):
    """How the files of a layout are written; a reader each."""

    XNLI_UPSTREAM = "xnli-upstream"
    XNLI_STRIPPED = "xnli-stripped"
    XCOPA = "xcopa"
    XCOPA_STRIPPED = "xcopa-stripped"
    CONLLU = "conllu"
    WORDS = "words"
    WORDS_PREFIXED = "words-prefixed"
    SQUAD = "squad"
    SQUAD_ALL = "squad-all"
    TATOEBA = "tatoeba"
    TATOEBA_SORTED = "tatoeba-sorted"
    TATOEBA_UNSURE = "tatoeba-unsure"
    MENTIONS = "mentions"
    MENTIONS_ALL = "mentions-all"
    LAREQA = "lareqa"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way in which a task's files lie in a folder.

    ``alternatives``: spellings, each the files that together make one language.
    """

    format: Format
    alternatives: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The files of a task in one language (of every language, where they hold several)."""

    format: Format
    files: tuple[Path, ...]


def _layout(format_: Format, *alternatives: str) -> Layout:
    return Layout(format=format_, alternatives=tuple(tuple(entry.split(" + ")) for entry in alternatives))


_UD_FILE = "{l}_*-ud-test.conllu"
# XTREME-R takes the languages that it added from a newer release than the others.
_UD_RELEASES = MappingProxyType(dict.fromkeys(("lt", "pl", "ro", "uk", "wo"), "2.7"))
_UD_RELEASE_OF_OTHERS = "2.5"

LAYOUTS: Mapping[Task, tuple[Layout, ...]] = MappingProxyType(
    {
        Task.XNLI: (
            _layout(
                Format.XNLI_UPSTREAM,
                "xnli/xnli.test.tsv",
                "xnli/XNLI-1.0/xnli.test.tsv",
                "XNLI-1.0/xnli.test.tsv",
            ),
            _layout(Format.XNLI_STRIPPED, "xnli/test-{l}.tsv"),
        ),
        Task.XCOPA: (
            _layout(
                Format.XCOPA,
                "xcopa/{l}/test.{l}.jsonl",
                "xcopa/data/{l}/test.{l}.jsonl",
                "xcopa/test.{l}.jsonl",
            ),
            _layout(Format.XCOPA_STRIPPED, "xcopa/test-{l}.jsonl", "xcopa/{l}/test-{l}.jsonl"),
        ),
        Task.UDPOS: (
            _layout(
                Format.CONLLU,
                f"ud/{_UD_FILE}",
                f"udpos/{_UD_FILE}",
                f"ud-treebanks-v{{ud}}/UD_*/{_UD_FILE}",
                f"ud/ud-treebanks-v{{ud}}/UD_*/{_UD_FILE}",
                f"udpos/ud-treebanks-v{{ud}}/UD_*/{_UD_FILE}",
                f"ud/UD_*/{_UD_FILE}",
            ),
            _layout(Format.WORDS, "udpos/test-{l}.tsv"),
        ),
        Task.PANX: (
            _layout(
                Format.WORDS_PREFIXED,
                "panx/{l}-test",
                "panx/{l}/test",
                "panx_dataset/{l}-test",
                "panx_dataset/{l}/test",
            ),
            _layout(Format.WORDS, "panx/test-{l}.tsv"),
        ),
        Task.XQUAD: (_layout(Format.SQUAD, "xquad/xquad.{l}.json"),),
        Task.MLQA: (
            _layout(
                Format.SQUAD,
                "mlqa/MLQA_V1/test/test-context-{l}-question-{l}.json",
                "MLQA_V1/test/test-context-{l}-question-{l}.json",
                "mlqa/test/test-context-{l}-question-{l}.json",
            ),
            _layout(
                Format.SQUAD,
                "mlqa/MLQA_V1/dev/dev-context-{l}-question-{l}.json",
                "MLQA_V1/dev/dev-context-{l}-question-{l}.json",
                "mlqa/dev/dev-context-{l}-question-{l}.json",
            ),
        ),
        Task.TYDIQA: (
            _layout(
                Format.SQUAD,
                "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
                "tydiqa/tydiqa-goldp-dev-{name}.json",
            ),
            _layout(
                Format.SQUAD_ALL,
                "tydiqa/tydiqa-goldp-v1.1-dev.json",
                "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-v1.1-dev.json",
            ),
            _layout(
                Format.SQUAD,
                "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{l}.dev.json",
                "tydiqa/tydiqa.goldp.{l}.dev.json",
            ),
        ),
        Task.TATOEBA: (
            _layout(
                Format.TATOEBA,
                "tatoeba/tatoeba.{lll}-eng.{lll} + tatoeba/tatoeba.{lll}-eng.eng",
                "tatoeba/v1/tatoeba.{lll}-eng.{lll} + tatoeba/v1/tatoeba.{lll}-eng.eng",
            ),
            _layout(Format.TATOEBA_UNSURE, "tatoeba/tatoeba.{l}-eng.{l} + tatoeba/tatoeba.{l}-eng.eng"),
            _layout(Format.TATOEBA_SORTED, "tatoeba/{l}-en.{l} + tatoeba/{l}-en.en"),
        ),
        Task.MEWSLIX: (
            _layout(Format.MENTIONS_ALL, "mewslix/wikinews_mentions-test.jsonl"),
            _layout(Format.MENTIONS, "mewslix/wikinews_mentions/test-{l}.jsonl"),
            _layout(Format.MENTIONS_ALL, "mewslix/wikinews_mentions-dev.jsonl"),
            _layout(Format.MENTIONS, "mewslix/wikinews_mentions/dev-{l}.jsonl"),
            _layout(Format.MENTIONS_ALL, "mewslix/example_mentions.jsonl"),
        ),
        Task.LAREQA: (_layout(Format.LAREQA, "lareqa/xquad-r/{l}.json", "xquad-r/{l}.json"),),
    }
)

ENTITIES = "mewslix/candidate_set_entities.jsonl"
"""Mewsli-X's candidates, in all fifty languages."""


def locate(folder: Path, task: Task, language: str) -> tuple[Found, ...]:
    """Return what a folder has of a task in a language, the layout to prefer first.

    A file that holds several languages is returned for each; whether it holds this one
    shows when it is read.

    Raises:
        DataError: one file of a set is there and another is not.
    """
    found = []
    for layout in LAYOUTS[task]:
        for patterns in layout.alternatives:
            files = _files(folder, patterns, task, language)
            if files:
                found.append(Found(format=layout.format, files=files))
                break
    return tuple(found)


def expected_file(task: Task, language: str) -> str:
    """Return where the preferred layout has a language, for a message to its reader."""
    patterns = LAYOUTS[task][0].alternatives[0]
    return " and ".join(pattern.format(**names_of(task, language)) for pattern in patterns)


def _files(folder: Path, patterns: tuple[str, ...], task: Task, language: str) -> tuple[Path, ...]:
    names = names_of(task, language)
    sets = [_matches(folder, pattern.format(**names)) for pattern in patterns]
    if any(sets) and not all(sets):
        missing = next(pattern for pattern, found in zip(patterns, sets, strict=True) if not found)
        problem = f"missing beside {sets[0][0].name if sets[0] else sets[1][0].name}; fetch both"
        raise DataError(folder / missing.format(**names), problem)
    return tuple(path for found in sets for path in found)


def _matches(folder: Path, pattern: str) -> list[Path]:
    if "*" not in pattern:
        path = folder / pattern
        return [path] if path.is_file() else []
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def names_of(task: Task, language: str) -> dict[str, str]:
    """Return what the placeholders of a pattern stand for."""
    assert language in TASKS[task].languages, f"{task} has no {language}. This is a bug."
    return {
        "l": language,
        "lll": ISO_639_3.get(language, language),
        "name": LANGUAGE_NAMES.get(language, language),
        "ud": _UD_RELEASES.get(language, _UD_RELEASE_OF_OTHERS),
    }
