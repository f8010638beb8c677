"""Mewsli-X: mentions of entities in news as queries, descriptions of entities as candidates.

A query is the mention, a colon, and the one sentence around it with the mention between
braces; braces of the text itself become parentheses. A candidate is its description's
sentences. Both as in the data set's own baseline (mewsli_x/schema.py, preprocess_*).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import CandidateExample, QueryExample
from loadtest.datasets.shape import Place, object_of, objects_of, span_of, text_of
from loadtest.datasets.tasks import LANGUAGES, TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.datasets.files import JsonLines

_BRACED = re.compile(r"\{(.*?)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """One line of the candidate set, with the language of its description."""

    language: str
    candidate: CandidateExample


def read_mentions(lines: JsonLines) -> dict[str, list[QueryExample]]:
    """Return the queries of every language in a file of articles.

    Raises:
        DataError: a line lacks a part, a span does not fit, or the language is none of the task's.
    """
    known = TASKS[Task.MEWSLIX].languages
    queries: dict[str, list[QueryExample]] = {}
    for number, record in lines:
        place = Place(path=lines.path, line=number)
        context = object_of(record, "context", place)
        language = text_of(context, "language", place)
        if language not in known:
            raise place.fail(f"unknown language {language!r}; Mewsli-X asks in {' '.join(known)}")
        text = text_of(context, "text", place)
        if not text:
            raise place.fail("the article has no text; run the data set's get-mewsli-x.sh to add it")
        spans = [span_of(span, text, place) for span in objects_of(context, "sentence_spans", place)]
        for mention in objects_of(record, "mentions", place):
            entity = text_of(mention, "entity_id", place).strip()
            query = QueryExample(text=_marked(mention, text, spans, place), keys=(entity,) if entity else ())
            queries.setdefault(language, []).append(query)
    return queries


def read_entities(lines: JsonLines) -> Iterator[Entity]:
    """Yield the candidate set, a million entities upstream, line by line.

    Raises:
        DataError: a line lacks a part, or its language is none of the fifty.
    """
    for number, record in lines:
        place = Place(path=lines.path, line=number)
        language = text_of(record, "description_language", place)
        if language not in LANGUAGES:
            raise place.fail(f"unknown language {language!r}; the benchmark has {' '.join(LANGUAGES)}")
        entity_id = text_of(record, "entity_id", place)
        text = text_of(record, "description", place)
        spans = [span_of(span, text, place) for span in objects_of(record, "sentence_spans", place)]
        description = _on_one_line(" ".join(text[start:end] for start, end in spans))
        yield Entity(
            language=language,
            candidate=CandidateExample(name=entity_id, text=description, context=None, keys=(entity_id,)),
        )


def _marked(mention: dict[str, Any], text: str, sentences: list[tuple[int, int]], place: Place) -> str:
    """Return the query of a mention: ``mention: left { mention } right``."""
    start, end = span_of(object_of(mention, "mention_span", place), text, place)
    around = next((s for s in sentences if s[0] <= start and end <= s[1] and start < end), None)
    if around is None:
        raise place.fail(f"the mention at {start}..{end} lies in no sentence")
    name = text[start:end]
    left = _BRACED.sub(r"(\1)", text[around[0] : start])
    right = _BRACED.sub(r"(\1)", text[end : around[1]])
    return _on_one_line(f"{name}: {left} {{ {name} }} {right}")


def _on_one_line(text: str) -> str:
    """Join lines and halve double spaces once, exactly as the baseline does."""
    return " ".join(text.splitlines()).replace("  ", " ").strip()
