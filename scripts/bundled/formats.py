"""The official file formats, one function each: records of the source tables in, text of a file out.

Rules: the same records give the same bytes; keys, columns and file endings are those of the official files.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scripts.bundled.spans import lay

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.bundled.source import Choice, Entity, Language, Passage, Tagged

XNLI_COLUMNS = [
    "language",
    "gold_label",
    "sentence1_binary_parse",
    "sentence2_binary_parse",
    "sentence1_parse",
    "sentence2_parse",
    "sentence1",
    "sentence2",
    "promptID",
    "pairID",
    "genre",
    "label1",
    "label2",
    "label3",
    "label4",
    "label5",
    "sentence1_tokenized",
    "sentence2_tokenized",
    "match",
]
_NO_SPACE_BEFORE = frozenset(".,;:!?،۔।。，")  # noqa: RUF001 - punctuation of the sample's scripts


def xnli(languages: Iterable[Language]) -> str:
    """Write XNLI's one test file: a header, then every language's pairs."""
    rows = [XNLI_COLUMNS]
    for language in languages:
        pair = 0
        for prompt, inference in enumerate(language.inferences, start=1):
            for label, hypothesis in inference.hypotheses:
                pair += 1
                row = dict.fromkeys(XNLI_COLUMNS, "")
                row |= {
                    "language": language.code,
                    "gold_label": label,
                    "sentence1": inference.premise,
                    "sentence2": hypothesis,
                    "promptID": str(prompt),
                    "pairID": str(pair),
                    "genre": "sample",
                    "match": "True",
                }
                row |= {f"label{annotator}": label for annotator in range(1, 6)}
                rows.append(list(row.values()))
    return "".join("\t".join(row) + "\n" for row in rows)


def xcopa(choices: Sequence[Choice]) -> str:
    """Write one language of XCOPA."""
    return json_lines(
        {
            "premise": choice.premise,
            "choice1": choice.choices[0],
            "choice2": choice.choices[1],
            "question": choice.question,
            "label": choice.label,
            "idx": index,
            "changed": False,
        }
        for index, choice in enumerate(choices)
    )


def conllu(language: Language) -> str:
    """Write one language as a treebank; trees are flat, since only words and UPOS tags are meant."""
    return "".join(
        _sentence(f"sample-{language.code}-{number}", tagged, language.word_space)
        for number, tagged in enumerate(language.tagged, start=1)
    )


def _sentence(sentence_id: str, tagged: Tagged, space: str) -> str:
    followed_by_space = [space != "" and after not in _NO_SPACE_BEFORE for _, after in pairwise(tagged.words)]
    followed_by_space.append(True)
    text = "".join(
        word + (space if spaced else "") for word, spaced in zip(tagged.words, followed_by_space, strict=True)
    )
    lines = [f"# sent_id = {sentence_id}", f"# text = {text.strip()}"]
    for number, (word, tag, spaced) in enumerate(
        zip(tagged.words, tagged.upos, followed_by_space, strict=True), start=1
    ):
        head, relation = ("0", "root") if number == 1 else ("1", "dep")
        misc = "_" if spaced else "SpaceAfter=No"
        lines.append("\t".join([str(number), word, "_", tag, "_", "_", head, relation, "_", misc]))
    return "\n".join(lines) + "\n\n"


def wikiann(language: Language) -> str:
    """Write one language of WikiANN: ``language:word TAB tag``."""
    return "".join(
        "".join(
            f"{language.code}:{word}\t{tag}\n"
            for word, tag in zip(tagged.words, tagged.entities, strict=True)
        )
        + "\n"
        for tagged in language.tagged
    )


def squad(passages: Sequence[Passage], space: str, *, version: str | float, id_prefix: str = "") -> str:
    """Write passages as SQuAD JSON, an article each."""
    return _document([_article(passage, space, id_prefix) for passage in passages], version)


def squad_joined(groups: Sequence[Sequence[Passage]], space: str, *, version: str | float) -> str:
    """Write each group of passages as one article with one longer context, a passage a line."""
    articles = []
    for passages in groups:
        contexts = [lay(passage.sentences, space) for passage in passages]
        laid = lay([context.text for context in contexts], "\n")
        qas = []
        for (start, _), context, passage in zip(laid.spans, contexts, passages, strict=True):
            qas += [
                _question(passage, q, start + context.offset(question.sentence, question.answer), "")
                for q, question in enumerate(passage.questions)
            ]
        title = ", ".join(passage.title for passage in passages)
        articles.append({"title": title, "paragraphs": [{"context": laid.text, "qas": qas}]})
    return _document(articles, version)


def lareqa(passages: Sequence[Passage], space: str) -> str:
    """Write passages as XQuAD-R: SQuAD JSON with the sentences and where they break."""
    articles = []
    for passage in passages:
        article = _article(passage, space, "")
        laid = lay(passage.sentences, space)
        article["paragraphs"][0] |= {
            "sentence_breaks": [list(span) for span in laid.spans],
            "sentences": list(passage.sentences),
        }
        articles.append(article)
    return _document(articles, "1.1")


def _article(passage: Passage, space: str, id_prefix: str) -> dict[str, Any]:
    laid = lay(passage.sentences, space)
    qas = [
        _question(passage, q, laid.offset(question.sentence, question.answer), id_prefix)
        for q, question in enumerate(passage.questions)
    ]
    return {"title": passage.title, "paragraphs": [{"context": laid.text, "qas": qas}]}


def _question(passage: Passage, number: int, offset: int, id_prefix: str) -> dict[str, Any]:
    question = passage.questions[number]
    return {
        "answers": [{"answer_start": offset, "text": question.answer}],
        "id": f"{id_prefix}sample-{passage.id}-{question.id}",
        "question": question.text,
    }


def _document(articles: list[dict[str, Any]], version: str | float) -> str:
    return json.dumps({"data": articles, "version": version}, ensure_ascii=False, indent=1) + "\n"


def mentions(languages: Iterable[Language]) -> str:
    """Write Mewsli-X's articles of every language, with the entity that each mention means."""
    records = []
    for language in languages:
        for number, mention in enumerate(language.mentions, start=1):
            document = f"{language.code}-{number}"
            body = lay(mention.sentences, language.sentence_space)
            text = lay([mention.title, body.text], "\n\n")
            start = text.spans[1][0]
            spans = [text.spans[0], *((start + a, start + b) for a, b in body.spans)]
            at = text.text.index(mention.mention, start)
            records.append(
                {
                    "context": {
                        "document_title": mention.title,
                        "document_url": f"https://example.org/sample/{document}",
                        "document_id": document,
                        "language": language.code,
                        "text": text.text,
                        "sentence_spans": [{"start": a, "end": b} for a, b in spans],
                    },
                    "mentions": [
                        {
                            "example_id": f"sample-{document}",
                            "mention_span": {
                                "start": at,
                                "end": at + len(mention.mention),
                                "text": mention.mention,
                            },
                            "entity_id": mention.entity,
                        }
                    ],
                }
            )
    return json_lines(records)


def entities(languages: Iterable[Language]) -> str:
    """Write Mewsli-X's candidates: one description an entity, in one language."""
    return json_lines(_entity(entity, language) for language in languages for entity in language.entities)


def _entity(entity: Entity, language: Language) -> dict[str, Any]:
    laid = lay(entity.description, language.sentence_space)
    return {
        "entity_id": entity.id,
        "title": entity.title,
        "description": laid.text,
        "sentence_spans": [{"start": a, "end": b} for a, b in laid.spans],
        "description_language": language.code,
        "description_url": f"https://example.org/sample/{entity.id}",
    }


def lines(texts: Iterable[str]) -> str:
    """Write one text a line."""
    return "".join(f"{text}\n" for text in texts)


def json_lines(records: Iterable[dict[str, Any]]) -> str:
    """Write one JSON object a line."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
