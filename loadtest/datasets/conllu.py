"""UDPOS upstream: CoNLL-U files of Universal Dependencies, as XTREME turns them into words and tags.

Rules of XTREME's conversion (ud-conversion-tools and utils_preprocess.py), kept here so
that both layouts give the same requests:

- A fused token (``du`` = ``de`` + ``le``) is one word; its tag is that of its part nearest
  the root, among several the first in ``PRECEDENCE``.
- Empty nodes (``8.1``) are no words; spaces and zero-width non-joiners leave a word.
- A sentence whose words are withheld (``_``) is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from loadtest.datasets.examples import DataError, WordsExample
from loadtest.datasets.tasks import UPOS_LABELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.datasets.files import TextFile

_COLUMNS = 10
_ZERO_WIDTH_NON_JOINER = "\u200c"

_PRECEDENCE = (
    "*:VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT",
    "es:VERB AUX PRON ADP DET",
    "fr:VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ CONJ",
    "it:VERB AUX ADV PRON ADP DET INTJ",
)
PRECEDENCE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {language: tuple(tags.split()) for language, _, tags in (row.partition(":") for row in _PRECEDENCE)}
)
"""Which part names a fused token where several stand equally near the root; ``*`` for other languages."""


@dataclass(slots=True, kw_only=True)
class _Sentence:
    """What was read since the last blank line; index 0 of each list is word 1."""

    forms: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    fused: list[tuple[int, int, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.forms or self.fused)


def read(file: TextFile, *, language: str) -> list[WordsExample]:
    """Return the sentences of one treebank.

    Raises:
        DataError: a line is broken, ids are out of order, a head or tag is unknown, or the file was cut.
    """
    if file.text and not file.text.endswith("\n"):
        raise DataError(file.path, "ends inside a line; the file was cut", line=file.text.count("\n") + 1)
    examples: list[WordsExample] = []
    sentence = _Sentence()
    number = 0
    for number, line in enumerate(file.lines(), start=1):
        if not line.strip():
            _close(sentence, examples, file, number, language)
            sentence = _Sentence()
        elif not line.startswith("#"):
            _add(sentence, line, file, number)
    _close(sentence, examples, file, number, language)
    return examples


def _add(sentence: _Sentence, line: str, file: TextFile, number: int) -> None:
    columns = line.split("\t")
    if len(columns) != _COLUMNS:
        problem = f"{len(columns)} columns; a CoNLL-U line has {_COLUMNS}, separated by tabs"
        raise DataError(file.path, problem, line=number)
    identity, form, tag, head = columns[0], columns[1], columns[3], columns[6]
    expected = len(sentence.forms) + 1
    if identity == str(expected):
        if tag not in UPOS_LABELS:
            raise DataError(file.path, f"tag {tag!r}; known are {' '.join(UPOS_LABELS)}", line=number)
        if not head.isdecimal():
            raise DataError(file.path, f"head {head!r} is no number", line=number)
        sentence.forms.append(form)
        sentence.tags.append(tag)
        sentence.heads.append(int(head))
        return
    first, dash, last = identity.partition("-")
    if dash and first == str(expected) and last.isdecimal() and int(last) >= expected:
        sentence.fused.append((expected, int(last), form))
    elif "." not in identity:
        raise DataError(file.path, f"id {identity!r}; expected {expected}", line=number)


def _close(
    sentence: _Sentence, examples: list[WordsExample], file: TextFile, number: int, language: str
) -> None:
    if not sentence:
        return
    length = len(sentence.forms)
    farthest = max([*sentence.heads, *(last for _, last, _ in sentence.fused)])
    if farthest > length:
        problem = f"the sentence before has {length} words but refers to word {farthest}; the file was cut"
        raise DataError(file.path, problem, line=number)
    words, tags = _fuse(sentence, PRECEDENCE.get(language, PRECEDENCE["*"]))
    num_withheld = sum(word == "_" for word in words)
    if num_withheld and num_withheld >= len(words) - 1:
        return
    cleaned = [word.replace(_ZERO_WIDTH_NON_JOINER, "").replace(" ", "") for word in words]
    kept = [(word, tag) for word, tag in zip(cleaned, tags, strict=True) if word]
    examples.append(WordsExample(words=tuple(word for word, _ in kept), tags=tuple(tag for _, tag in kept)))


def _fuse(sentence: _Sentence, precedence: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return words and tags with each fused token in the place of its parts."""
    if not sentence.fused:
        return sentence.forms, sentence.tags
    words: list[str] = []
    tags: list[str] = []
    after = 1
    for first, last, form in sentence.fused:
        words += [*sentence.forms[after - 1 : first - 1], form]
        tags += [*sentence.tags[after - 1 : first - 1], _tag_of_fused(sentence, first, last, precedence)]
        after = last + 1
    return words + sentence.forms[after - 1 :], tags + sentence.tags[after - 1 :]


def _tag_of_fused(sentence: _Sentence, first: int, last: int, precedence: tuple[str, ...]) -> str:
    parts = range(first, last + 1)
    depths = [_depth(sentence.heads, part) for part in parts]
    nearest = [part for part, depth in zip(parts, depths, strict=True) if depth == min(depths)]
    ranks = [
        precedence.index(tag) if tag in precedence else len(precedence)
        for tag in (sentence.tags[part - 1] for part in nearest)
    ]
    return sentence.tags[nearest[ranks.index(min(ranks))] - 1]


def _depth(heads: list[int], word: int) -> int:
    """Return how many words stand between a word and the root; a cycle counts each of its words once."""
    seen: set[int] = set()
    while word and word not in seen:
        seen.add(word)
        word = heads[word - 1]
    return len(seen)
