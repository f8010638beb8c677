"""Words with tags, a word a line and a blank line between sentences: WikiANN-NER and XTREME's UDPOS.

Upstream WikiANN writes ``language:word TAB tag``, XTREME ``word TAB tag`` for training and
``word`` alone for tests. A file keeps to one of these; a word may itself hold a colon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.datasets.examples import DataError, WordsExample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.datasets.files import TextFile


def read(
    file: TextFile, *, labels: tuple[str, ...], language_prefix: str | None = None
) -> list[WordsExample]:
    """Return the sentences of one language.

    ``language_prefix``: the code that stands before each word in the upstream layout,
    None where words stand alone.

    Raises:
        DataError: columns differ from the file's first line, a tag is unknown or a prefix is missing.
    """
    if "\t" not in file.text and language_prefix is None:
        return [WordsExample(words=words, tags=None) for words in _sentences(file.text)]
    examples: list[WordsExample] = []
    words: list[str] = []
    tags: list[str] = []
    num_columns: int | None = None
    for number, raw in enumerate(file.lines(), start=1):
        line = raw.strip()
        if not line:
            _finish(examples, words, tags, num_columns)
            continue
        columns = line.split("\t")
        if num_columns is None:
            num_columns = len(columns)
        if len(columns) != num_columns or num_columns not in (1, 2):
            problem = (
                f"{len(columns)} columns, the first line has {num_columns}; expected word, or word TAB tag"
            )
            raise DataError(file.path, problem, line=number)
        words.append(_word(columns[0].strip(), language_prefix, file, number))
        if num_columns == 2:  # noqa: PLR2004 - word and tag
            tags.append(_tag(columns[1].strip(), labels, file, number))
    _finish(examples, words, tags, num_columns)
    return examples


def _sentences(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the sentences of words without tags, block by block: these files have millions of lines."""
    for block in text.split("\n\n"):
        words = tuple(map(str.strip, block.split("\n")))
        if "" not in words:
            yield words
            continue
        # Three line ends in a row, the file's end, or a blank line that is made of spaces.
        sentence: list[str] = []
        for word in (*words, ""):
            if word:
                sentence.append(word)
            elif sentence:
                yield tuple(sentence)
                sentence = []


def _finish(examples: list[WordsExample], words: list[str], tags: list[str], num_columns: int | None) -> None:
    """Close the sentence collected so far, if there is one (some files have two blank lines in a row)."""
    if words:
        examples.append(WordsExample(words=tuple(words), tags=None if num_columns == 1 else tuple(tags)))
    words.clear()
    tags.clear()


def _word(text: str, prefix: str | None, file: TextFile, number: int) -> str:
    if prefix is None:
        return text
    head, colon, word = text.partition(":")
    if not colon:
        raise DataError(file.path, f"no language before the word; expected {prefix}:word", line=number)
    if head != prefix:
        raise DataError(file.path, f"language {head!r} in the file of {prefix!r}", line=number)
    return word.strip()


def _tag(tag: str, labels: tuple[str, ...], file: TextFile, number: int) -> str:
    if tag not in labels:
        raise DataError(file.path, f"tag {tag!r}; known are {' '.join(labels)}", line=number)
    return tag
