"""Questions on contexts in SQuAD's JSON: XQuAD, MLQA and TyDiQA-GoldP.

XTREME's preparation replaces the answers of its test files by empty ones; such a question
has no gold. TyDiQA also comes as one file for all languages: there the id of a question
begins with its language's English name.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import QuestionExample
from loadtest.datasets.shape import Place, objects_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadtest.datasets.files import TextFile

LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "ar": "arabic",
        "bn": "bengali",
        "en": "english",
        "fi": "finnish",
        "id": "indonesian",
        "ko": "korean",
        "ru": "russian",
        "sw": "swahili",
        "te": "telugu",
    }
)
"""TyDiQA's names of its languages."""


def read(file: TextFile, document: Any) -> list[QuestionExample]:
    """Return the questions of a file that holds one language.

    Raises:
        DataError: the document lacks a part; it names the place in it.
    """
    return [example for _, _, example in _questions(file, document)]


def read_by_language(file: TextFile, document: Any) -> dict[str, list[QuestionExample]]:
    """Return the questions of a file that holds all of TyDiQA's languages.

    Raises:
        DataError: the document lacks a part, or an id begins with no known language.
    """
    codes = {name: code for code, name in LANGUAGE_NAMES.items()}
    examples: dict[str, list[QuestionExample]] = {}
    for place, identity, example in _questions(file, document):
        name = identity.split("-", maxsplit=1)[0]
        code = codes.get(name, name if name in LANGUAGE_NAMES else None)
        if code is None:
            raise place.fail(f"unknown language in id {identity!r}; known are {', '.join(codes)}")
        examples.setdefault(code, []).append(example)
    return examples


def paragraphs(file: TextFile, document: Any) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield every paragraph of a SQuAD document with its place.

    Raises:
        DataError: there is no list of articles or paragraphs.
    """
    top = Place(path=file.path, document=file.text)
    if not isinstance(document, dict):
        raise top.fail("not a SQuAD document; expected an object with 'data'")
    for a, article in enumerate(objects_of(document, "data", top)):
        inside = top.within(f"data[{a}]")
        for p, paragraph in enumerate(objects_of(article, "paragraphs", inside)):
            context = paragraph.get("context")
            yield (
                inside.within(f"paragraphs[{p}]", near=context if isinstance(context, str) else ""),
                paragraph,
            )


def _questions(file: TextFile, document: Any) -> Iterator[tuple[Place, str, QuestionExample]]:
    for place, paragraph in paragraphs(file, document):
        context = text_of(paragraph, "context", place)
        for q, record in enumerate(objects_of(paragraph, "qas", place)):
            here = place.within(f"qas[{q}]")
            question = text_of(record, "question", here)
            identity = str(record.get("id", ""))
            answers = [text_of(answer, "text", here) for answer in objects_of(record, "answers", here)]
            yield (
                here.within("id", near=question),
                identity,
                QuestionExample(
                    question=question,
                    context=context,
                    answers=tuple(dict.fromkeys(answer for answer in answers if answer)),
                    unit=identity,
                ),
            )
