"""A folder of data sets: which task is there in which languages, and its examples.

A portion is one task in one language. Files that hold every language are read once and
shared out; the rest is read when asked for, one language at a time, and not kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.datasets import conllu, lareqa, mewslix, squad, tagged, tatoeba, xcopa, xnli
from loadtest.datasets.examples import DataError, has_gold
from loadtest.datasets.files import JsonLines, read_json_file, read_lines_file
from loadtest.datasets.layouts import ENTITIES, Format, Found, locate
from loadtest.datasets.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from loadtest.datasets.examples import CandidateExample, Example

BUNDLED = "bundled"
"""The name of the sample that comes with the project."""

BUNDLED_LICENCE = "CC0 1.0 (sample text written for this project)"

_HOLDS_ALL_LANGUAGES = frozenset({Format.XNLI_UPSTREAM, Format.SQUAD_ALL, Format.MENTIONS_ALL})


@dataclass(frozen=True, slots=True, kw_only=True)
class UsedFile:
    """A file that was read; ``name`` is relative to the folder."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """One task in one language: its examples, and what they search where the same files hold it."""

    task: Task
    language: str
    examples: Sequence[Example]
    candidates: Sequence[CandidateExample]
    files: tuple[UsedFile, ...]

    @property
    def has_gold(self) -> bool:
        """Whether any example has its right answer."""
        return any(has_gold(example) for example in self.examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shared:
    """What a file of every language held."""

    by_language: Mapping[str, Sequence[Example]]
    file: UsedFile


class Library:
    """The data sets under one folder."""

    def __init__(self, folder: Path, *, licence: str | None = None) -> None:
        """Take a folder; ``licence`` is that of all texts in it where it is not the data sets' own."""
        if not folder.is_dir():
            raise DataError(folder, "no such folder; give the one that holds xnli, xquad, ..")
        self.folder = folder
        self._licence = licence
        self._shared: dict[Path, _Shared] = {}

    def find(self, task: Task, language: str) -> Found | None:
        """Return the files that provide a task in a language, None where there are none.

        Raises:
            DataError: a file that holds several languages cannot be read, or half of a pair is missing.
        """
        for found in locate(self.folder, task, language):
            if found.format not in _HOLDS_ALL_LANGUAGES:
                return found
            if language in self._share(found).by_language:
                return found
        return None

    def languages(self, task: Task) -> tuple[str, ...]:
        """Return the languages of a task that are there, in the order of its table."""
        return tuple(code for code in TASKS[task].languages if self.find(task, code) is not None)

    def read(self, task: Task, language: str) -> Portion:
        """Return a task in a language.

        Raises:
            DataError: it is not there, or a file is damaged; the message names file and line.
        """
        found = self.find(task, language)
        if found is None:
            raise DataError(self.folder, f"no {TASKS[task].title} in {language!r}")
        candidates: Sequence[CandidateExample] = ()
        if found.format in _HOLDS_ALL_LANGUAGES:
            shared = self._share(found)
            examples = shared.by_language[language]
            used: tuple[UsedFile, ...] = (shared.file,)
        else:
            examples, candidates, used = self._read_one(found, task, language)
        if not examples:
            raise DataError(found.files[0], "holds no example; the file was cut, fetch it again")
        return Portion(task=task, language=language, examples=examples, candidates=candidates, files=used)

    def licence_of(self, task: Task) -> str:
        """Return the licence under which a task's texts come."""
        return self._licence or TASKS[task].licence

    @property
    def has_entities(self) -> bool:
        """Whether Mewsli-X's candidates are there."""
        return (self.folder / ENTITIES).is_file()

    def entities(self) -> tuple[JsonLines, Iterator[mewslix.Entity]]:
        """Return Mewsli-X's candidates, to be read line by line, and their file, whose hash is then known."""
        lines = JsonLines(self.folder / ENTITIES)
        return lines, mewslix.read_entities(lines)

    def name_of(self, path: Path) -> str:
        """Return a path as it stands in headers: relative to the folder, with slashes."""
        return path.relative_to(self.folder).as_posix()

    def _share(self, found: Found) -> _Shared:
        path = found.files[0]
        if path not in self._shared:
            by_language, sha256 = _read_all_languages(found.format, path)
            self._shared[path] = _Shared(
                by_language=by_language, file=UsedFile(name=self.name_of(path), sha256=sha256)
            )
        return self._shared[path]

    def _read_one(
        self, found: Found, task: Task, language: str
    ) -> tuple[Sequence[Example], Sequence[CandidateExample], tuple[UsedFile, ...]]:
        """Read files that hold one language."""
        paths = found.files
        candidates: Sequence[CandidateExample] = ()
        examples: Sequence[Example]
        match found.format:
            case Format.XCOPA | Format.XCOPA_STRIPPED:
                lines = JsonLines(paths[0])
                examples = xcopa.read(lines, stripped=found.format is Format.XCOPA_STRIPPED)
                return examples, (), self._used([lines.sha256], paths)
            case Format.MENTIONS:
                lines = JsonLines(paths[0])
                examples = mewslix.read_mentions(lines).get(language, [])
                return examples, (), self._used([lines.sha256], paths)
            case Format.SQUAD:
                file, document = read_json_file(paths[0])
                return squad.read(file, document), (), self._used([file.sha256], paths)
            case Format.LAREQA:
                file, document = read_json_file(paths[0])
                examples, candidates = lareqa.read(file, document)
                return examples, candidates, self._used([file.sha256], paths)
        files = [read_lines_file(path) for path in paths]
        match found.format:
            case Format.XNLI_STRIPPED:
                examples = xnli.read_stripped(files[0])
            case Format.CONLLU:
                examples = [sentence for file in files for sentence in conllu.read(file, language=language)]
            case Format.WORDS | Format.WORDS_PREFIXED:
                prefix = language if found.format is Format.WORDS_PREFIXED else None
                examples = tagged.read(files[0], labels=TASKS[task].labels, language_prefix=prefix)
            case Format.TATOEBA | Format.TATOEBA_UNSURE | Format.TATOEBA_SORTED:
                paired = found.format is Format.TATOEBA or (
                    found.format is Format.TATOEBA_UNSURE and not tatoeba.is_sorted(files[1])
                )
                examples, candidates = tatoeba.read(files[0], files[1], paired=paired)
            case _:
                raise AssertionError(f"No reader for {found.format}. This is a bug.")
        return examples, candidates, self._used([file.sha256 for file in files], paths)

    def _used(self, hashes: list[str], paths: tuple[Path, ...]) -> tuple[UsedFile, ...]:
        return tuple(
            UsedFile(name=self.name_of(path), sha256=sha256)
            for path, sha256 in zip(paths, hashes, strict=True)
        )


def open_library(name: str) -> Library:
    """Return the library in a folder, or the sample where ``name`` is ``bundled``.

    Raises:
        DataError: there is no such folder.
    """
    if name == BUNDLED:
        return Library(Path(__file__).parent / BUNDLED / "data", licence=BUNDLED_LICENCE)
    return Library(Path(name))


def _read_all_languages(format_: Format, path: Path) -> tuple[Mapping[str, Sequence[Example]], str]:
    """Read a file that holds every language; return its examples by language and its hash."""
    if format_ is Format.XNLI_UPSTREAM:
        file = read_lines_file(path)
        return xnli.read_upstream(file), file.sha256
    if format_ is Format.SQUAD_ALL:
        file, document = read_json_file(path)
        return squad.read_by_language(file, document), file.sha256
    assert format_ is Format.MENTIONS_ALL, f"{format_} holds one language. This is a bug."
    lines = JsonLines(path)
    by_language = mewslix.read_mentions(lines)
    return by_language, lines.sha256
