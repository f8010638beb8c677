"""LAReQA (XQuAD-R): questions, and as candidates every sentence with its context.

A candidate is right for a question when it is the sentence in which the answer to the
question of that id begins, in *any* language: an id is shared by all languages. The
benchmark's evaluation lists no language for this task and so never scores it; here it is
scored like the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from loadtest.datasets.examples import CandidateExample, QueryExample
from loadtest.datasets.shape import Place, objects_of, span_of, text_of, whole_of
from loadtest.datasets.squad import paragraphs

if TYPE_CHECKING:
    from loadtest.datasets.files import TextFile


def read(file: TextFile, document: Any) -> tuple[list[QueryExample], list[CandidateExample]]:
    """Return the questions and the candidate sentences of one language.

    Sentences and contexts keep their newlines. A question whose answer begins in no
    sentence is left out, as in the benchmark's reader.

    Raises:
        DataError: the document lacks a part, or a sentence lies outside its context.
    """
    queries: list[QueryExample] = []
    candidates: list[CandidateExample] = []
    for place, paragraph in paragraphs(file, document):
        context = text_of(paragraph, "context", place)
        breaks = paragraph.get("sentence_breaks")
        if not isinstance(breaks, list):
            raise place.fail("no 'sentence_breaks'; this is SQuAD, LAReQA needs XQuAD-R")
        spans = [span_of(value, context, place.within("sentence_breaks")) for value in breaks]
        sentences = [context[start:end] for start, end in spans]
        keys: list[list[str]] = [[] for _ in sentences]
        for q, record in enumerate(objects_of(paragraph, "qas", place)):
            here = place.within(f"qas[{q}]")
            answering = _answering_sentence(record, spans, sentences, here)
            if answering is None:
                continue
            key = text_of(record, "id", here)
            queries.append(QueryExample(text=text_of(record, "question", here), keys=(key,), unit=key))
            for sentence, found in zip(sentences, keys, strict=True):
                if sentence == answering:
                    found.append(key)
        candidates += [
            CandidateExample(
                name=f"c{len(candidates) + i:06d}", text=sentence, context=context, keys=tuple(found)
            )
            for i, (sentence, found) in enumerate(zip(sentences, keys, strict=True))
        ]
    return queries, candidates


def _answering_sentence(
    record: dict[str, Any], spans: list[tuple[int, int]], sentences: list[str], place: Place
) -> str | None:
    answers = objects_of(record, "answers", place)
    if not answers:
        raise place.fail("no answer; LAReQA's questions have one each")
    begin = whole_of(answers[0], "answer_start", place)
    for (start, end), sentence in zip(spans, sentences, strict=True):
        if start <= begin < end:
            return sentence
    return None
