"""A folder of every task in a few languages, in the official layouts; sentences written for these tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

XNLI_HEADER = (
    "language\tgold_label\tsentence1_binary_parse\tsentence2_binary_parse\tsentence1_parse\tsentence2_parse\t"
    "sentence1\tsentence2\tpromptID\tpairID\tgenre\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tmatch"
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def write_json(path: Path, document: Any) -> Path:
    return write(path, json.dumps(document, ensure_ascii=False, indent=1))


def write_jsonl(path: Path, records: Sequence[Any]) -> Path:
    return write(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def xnli_line(language: str, label: str, premise: str, hypothesis: str) -> str:
    return "\t".join([language, label, "", "", "", "", premise, hypothesis, *["-"] * 9])


def conllu(*sentences: str) -> str:
    """Return CoNLL-U of sentences given as ``word/TAG`` pairs; each word hangs from the first."""
    blocks = []
    for sentence in sentences:
        rows = []
        for i, token in enumerate(sentence.split(), start=1):
            word, _, tag = token.rpartition("/")
            rows.append(f"{i}\t{word}\t_\t{tag}\t_\t_\t{0 if i == 1 else 1}\tdep\t_\t_")
        blocks.append("\n".join(rows) + "\n\n")
    return "".join(blocks)


def squad(*paragraphs: tuple[str, Sequence[tuple[str, str, str]]], **extra: Any) -> dict[str, Any]:
    """Return a SQuAD document of contexts with (id, question, answer) triples."""
    return {
        "version": "1.1",
        "data": [
            {
                "title": "t",
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [
                            {
                                "id": identity,
                                "question": question,
                                "answers": [{"text": answer, "answer_start": context.find(answer)}],
                            }
                            for identity, question, answer in questions
                        ],
                        **extra,
                    }
                    for context, questions in paragraphs
                ],
            }
        ],
    }


def mention_line(language: str, text: str, mention: str, entity: str) -> dict[str, Any]:
    start = text.index(mention)
    return {
        "context": {
            "document_id": "d",
            "language": language,
            "text": text,
            "sentence_spans": [{"start": 0, "end": len(text)}],
        },
        "mentions": [
            {
                "example_id": "e",
                "mention_span": {"start": start, "end": start + len(mention), "text": mention},
                "entity_id": entity,
            }
        ],
    }


def entity_line(entity: str, language: str, description: str) -> dict[str, Any]:
    return {
        "entity_id": entity,
        "title": entity,
        "description": description,
        "description_url": "https://example.org",
        "description_language": language,
        "sentence_spans": [{"start": 0, "end": len(description)}],
    }


def write_tiny_data(folder: Path) -> Path:
    """Write two languages of every task, with gold, and return the folder."""
    write(
        folder / "xnli/xnli.test.tsv",
        "\n".join(
            [
                XNLI_HEADER,
                xnli_line("en", "entailment", "Two ferries left at noon.", "A ferry left."),
                xnli_line("en", "contradiction", "Two ferries left at noon.", "No ferry left."),
                xnli_line("en", "neutral", "Two ferries left at noon.", "The ferries were full."),
                xnli_line("sw", "neutral", "Mvua ilinyesha jana.", "Barabara zilifungwa."),
                xnli_line("sw", "entailment", "Mvua ilinyesha jana.", "Kulikuwa na mvua."),
            ]
        )
        + "\n",
    )
    for code, premise in (("et", "Klaas kukkus maha."), ("sw", "Kikombe kilianguka.")):
        write_jsonl(
            folder / f"xcopa/{code}/test.{code}.jsonl",
            [
                {
                    "premise": premise,
                    "choice1": "A",
                    "choice2": "B",
                    "question": "effect",
                    "label": 1,
                    "idx": 0,
                },
                {
                    "premise": premise,
                    "choice1": "C",
                    "choice2": "D",
                    "question": "cause",
                    "label": 0,
                    "idx": 1,
                },
            ],
        )
    write(folder / "ud/en_tiny-ud-test.conllu", conllu("Boats/NOUN sail/VERB ./PUNCT", "Rain/NOUN fell/VERB"))
    write(folder / "ud/wo_tiny-ud-test.conllu", conllu("Xale/NOUN bi/DET", "Ndox/NOUN mi/DET"))
    write(folder / "panx/en-test", "en:Oslo\tB-LOC\nen:ferry\tO\n\nen:Ada\tB-PER\nen:Lovelace\tI-PER\n\n")
    write(folder / "panx/yo-test", "yo:Lagos\tB-LOC\n\nyo:Ada\tB-PER\n\n")
    harbour = ("The harbour opened in 1901. It has two piers.", [("q1", "When did it open?", "1901")])
    port = ("Portul s-a deschis în 1901. Are două diguri.", [("q1", "Când s-a deschis?", "1901")])
    write_json(folder / "xquad/xquad.en.json", squad(harbour))
    write_json(folder / "xquad/xquad.ro.json", squad(port))
    write_json(folder / "mlqa/MLQA_V1/test/test-context-en-question-en.json", squad(harbour))
    write_json(folder / "mlqa/MLQA_V1/dev/dev-context-de-question-de.json", squad(harbour))
    for code, name in (("en", "english"), ("sw", "swahili")):
        write_json(
            folder / f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa-goldp-dev-{name}.json",
            squad((f"{code}: the mast is 9 m high.", [(f"{name}-1-0", "How high?", "9 m")])),
        )
    for code, lines in (
        ("fra", "Le port est calme.\nIl neige.\n"),
        ("swh", "Bandari ni tulivu.\nTheluji.\n"),
    ):
        write(folder / f"tatoeba/tatoeba.{code}-eng.{code}", lines)
        write(folder / f"tatoeba/tatoeba.{code}-eng.eng", "The port is calm.\nIt snows.\n")
    write_jsonl(
        folder / "mewslix/wikinews_mentions-test.jsonl",
        [
            mention_line("en", "A storm reached Bergen today.", "Bergen", "Q1"),
            mention_line("de", "Der Sturm traf Bergen.", "Bergen", "Q1"),
        ],
    )
    write_jsonl(
        folder / "mewslix/candidate_set_entities.jsonl",
        [
            entity_line("Q2", "en", "A river of the east."),
            entity_line("Q1", "sw", "Mji wa bandari."),
            entity_line("Q3", "de", "Ein Berg."),
        ],
    )
    write_json(folder / "lareqa/xquad-r/en.json", _with_breaks(harbour, (0, 28), (28, 45)))
    write_json(folder / "lareqa/xquad-r/de.json", _with_breaks(harbour, (0, 27), (28, 45)))
    return folder


def _with_breaks(paragraph: tuple[str, Sequence[tuple[str, str, str]]], *breaks: tuple[int, int]) -> Any:
    return squad(paragraph, sentence_breaks=[list(span) for span in breaks])
