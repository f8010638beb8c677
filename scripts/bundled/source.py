"""The sample's source tables: one TOML file a language, read into records and checked on the way.

Rules: a table holds sentences, never offsets; what can be computed is computed when the data is written.
Tags are written ``word|UPOS|entity``: an empty UPOS where the language has no UDPOS, no entity where it is O.
An error names the file and the text.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.datasets.tasks import ENTITY_LABELS, LANGUAGES, UPOS_LABELS

if TYPE_CHECKING:
    from pathlib import Path


class SourceError(Exception):
    """A source table breaks a rule; the message names file and text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """A sentence as words, each with an entity tag (IOB2) and, where the language has UDPOS, a UPOS tag."""

    words: tuple[str, ...]
    upos: tuple[str, ...]
    entities: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inference:
    """A premise with one hypothesis for each of XNLI's labels."""

    premise: str
    hypotheses: tuple[tuple[str, str], ...]  # (label, text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A premise and its possible causes or effects."""

    premise: str
    question: str
    choices: tuple[str, str]
    label: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question that one sentence answers, and the answer's words in it."""

    id: str
    sentence: int
    text: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """Sentences about one thing, with questions."""

    id: str
    title: str
    sentences: tuple[str, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A thing with a description in one language."""

    id: str
    title: str
    description: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A short piece of news, one of whose sentences names an entity."""

    title: str
    sentences: tuple[str, ...]
    mention: str
    entity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """All that the sample has in one language.

    ``word_space`` and ``sentence_space`` stand between words and between sentences; either may be empty.
    """

    code: str
    name: str
    word_space: str
    sentence_space: str
    tagged: tuple[Tagged, ...]
    translations: tuple[str, ...]
    inferences: tuple[Inference, ...]
    choices: tuple[Choice, ...]
    passages: tuple[Passage, ...]
    long_passages: tuple[Passage, ...]
    entities: tuple[Entity, ...]
    mentions: tuple[Mention, ...]


_SPACES = {"words": (" ", " "), "sentences": ("", " "), "none": ("", "")}


def read_languages(folder: Path) -> dict[str, Language]:
    """Read the table of each of the fifty languages.

    Raises:
        SourceError: a table is missing or breaks a rule.
    """
    return {code: _read_language(folder / f"{code}.toml", code) for code in LANGUAGES}


def _read_language(path: Path, code: str) -> Language:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        word_space, sentence_space = _SPACES[table.get("spaces", "words")]
        return Language(
            code=code,
            name=table["name"],
            word_space=word_space,
            sentence_space=sentence_space,
            tagged=tuple(_tagged(line) for line in table.get("tagged", [])),
            translations=tuple(_lines(table.get("translations", []))),
            inferences=tuple(_inference(entry) for entry in table.get("nli", [])),
            choices=tuple(_choice(entry) for entry in table.get("copa", [])),
            passages=tuple(_passage(entry) for entry in table.get("passage", [])),
            long_passages=tuple(_passage(entry) for entry in table.get("long_passage", [])),
            entities=tuple(_entity(entry) for entry in table["entity"]),
            mentions=tuple(_mention(entry) for entry in table.get("mention", [])),
        )
    except FileNotFoundError:
        raise SourceError(f"{path} is missing: every language has a table") from None
    except (KeyError, ValueError, IndexError) as error:
        raise SourceError(f"{path}: {type(error).__name__}: {error}") from error


def _tagged(line: str) -> Tagged:
    cells = [(*cell.split("|"), "", "")[:3] for cell in line.split(" ")]
    words = tuple(word for word, _, _ in cells)
    upos = tuple(tag for _, tag, _ in cells)
    entities = tuple(tag or "O" for _, _, tag in cells)
    if not all(words) or any("\t" in word for word in words):
        raise ValueError(f"an empty word in {line!r}")
    if any(upos) and not set(upos) <= set(UPOS_LABELS):
        raise ValueError(f"UPOS tags {sorted(set(upos) - set(UPOS_LABELS))} in {line!r}")
    for before, tag in zip(("O", *entities), entities, strict=False):
        if tag not in ENTITY_LABELS or (tag.startswith("I-") and before[1:] != tag[1:]):
            raise ValueError(f"entity tag {tag!r} after {before!r} in {line!r}")
    return Tagged(words=words, upos=upos if any(upos) else (), entities=entities)


def _inference(entry: dict[str, Any]) -> Inference:
    labels = ("entailment", "contradiction", "neutral")
    return Inference(
        premise=_line(entry["premise"]), hypotheses=tuple((label, _line(entry[label])) for label in labels)
    )


def _choice(entry: dict[str, Any]) -> Choice:
    if entry["question"] not in ("cause", "effect") or entry["label"] not in (0, 1):
        raise ValueError(f"question {entry['question']!r} with label {entry['label']!r}")
    return Choice(
        premise=_line(entry["premise"]),
        question=entry["question"],
        choices=(_line(entry["choice1"]), _line(entry["choice2"])),
        label=entry["label"],
    )


def _passage(entry: dict[str, Any]) -> Passage:
    sentences = tuple(_lines(entry["sentences"]))
    questions = tuple(
        Question(id=q["id"], sentence=q["sentence"], text=_line(q["question"]), answer=_line(q["answer"]))
        for q in entry["questions"]
    )
    for question in questions:
        found = [i for i, sentence in enumerate(sentences) if question.answer in sentence]
        if found != [question.sentence] or sentences[question.sentence].count(question.answer) != 1:
            raise ValueError(
                f"answer {question.answer!r} stands in {found}, expected once in {question.sentence}"
            )
    if len(set(sentences)) != len(sentences):
        raise ValueError(f"a sentence twice in {entry['id']!r}")
    return Passage(id=entry["id"], title=_line(entry["title"]), sentences=sentences, questions=questions)


def _entity(entry: dict[str, Any]) -> Entity:
    return Entity(
        id=entry["id"], title=_line(entry["title"]), description=tuple(_lines(entry["description"]))
    )


def _mention(entry: dict[str, Any]) -> Mention:
    sentences = tuple(_lines(entry["sentences"]))
    if sum(sentence.count(entry["mention"]) for sentence in sentences) != 1:
        raise ValueError(f"mention {entry['mention']!r} does not stand exactly once in {sentences}")
    return Mention(
        title=_line(entry["title"]), sentences=sentences, mention=entry["mention"], entity=entry["entity"]
    )


def _lines(texts: list[str]) -> list[str]:
    return [_line(text) for text in texts]


def _line(text: str) -> str:
    if not text.strip() or text != text.strip() or any(mark in text for mark in "\t\n\r"):
        raise ValueError(f"not one tidy line of text: {text!r}")
    return text
