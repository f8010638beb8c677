"""Tatoeba: two files whose lines translate each other; the English side asks, the other is searched.

The index is the language's own side and the queries are English (XTREME's
utils_retrieve.py adds one and searches with the other). LASER names its files by ISO
639-3. XTREME's preparation writes two-letter names and *sorts* the English side, which
destroys the pairing, so that its layout has no gold; its evaluation then reads yet
another spelling.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from loadtest.datasets.examples import CandidateExample, DataError, QueryExample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.datasets.files import TextFile

_CODES = (
    "af:afr ar:ara az:aze bg:bul bn:ben de:deu el:ell es:spa et:est eu:eus fa:pes fi:fin fr:fra he:heb "
    "hi:hin hu:hun id:ind it:ita ja:jpn jv:jav ka:kat kk:kaz ko:kor lt:lit ml:mal mr:mar nl:nld pl:pol "
    "pt:por ro:ron ru:rus sw:swh ta:tam te:tel th:tha tl:tgl tr:tur uk:ukr ur:urd vi:vie zh:cmn"
)
ISO_639_3: Mapping[str, str] = MappingProxyType(
    {two: three for two, _, three in (pair.partition(":") for pair in _CODES.split())}
)
"""The codes in LASER's file names; three differ from the language's usual one (pes, swh, cmn)."""


def read(
    source: TextFile, english: TextFile, *, paired: bool
) -> tuple[list[QueryExample], list[CandidateExample]]:
    """Return the English queries and the candidates of one language.

    ``paired``: whether line i of one file translates line i of the other.

    Raises:
        DataError: the files have different numbers of lines, or a line is empty.
    """
    candidates, queries = _sentences(source), _sentences(english)
    if len(candidates) != len(queries):
        shorter, longer = (source, english) if len(candidates) < len(queries) else (english, source)
        problem = (
            f"ends after {min(len(candidates), len(queries))} lines, but {longer.path.name} has "
            f"{max(len(candidates), len(queries))}; fetch both again"
        )
        raise DataError(shorter.path, problem, line=min(len(candidates), len(queries)) + 1)
    return (
        [QueryExample(text=text, keys=(str(i),) if paired else ()) for i, text in enumerate(queries)],
        [
            CandidateExample(name=f"c{i:06d}", text=text, context=None, keys=(str(i),))
            for i, text in enumerate(candidates)
        ],
    )


def is_sorted(english: TextFile) -> bool:
    """Return whether the English side was sorted by XTREME's preparation, which ends the pairing."""
    sentences = english.lines()
    return sentences == sorted(sentences)


def _sentences(file: TextFile) -> list[str]:
    sentences = [line.strip() for line in file.lines()]
    if "" in sentences:
        raise DataError(file.path, "an empty line where a sentence belongs", line=sentences.index("") + 1)
    return sentences
