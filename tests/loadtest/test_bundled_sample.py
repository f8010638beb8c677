"""The bundled sample: what is committed is what the script writes, complete, in format, and answerable."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from loadtest.analysis.scoring import Answer, Candidates, average_scores, score_task
from loadtest.datasets.examples import WordsExample, has_gold
from loadtest.datasets.library import BUNDLED_LICENCE, Library, open_library
from loadtest.datasets.tasks import ENTITY_LABELS, LANGUAGES, TASKS, UPOS_LABELS, Task
from loadtest.datasets.tatoeba import ISO_639_3
from loadtest.trace.items import Item, Role, read_gold, read_items

DATA = Path(__file__).resolve().parents[2] / "loadtest" / "datasets" / "bundled" / "data"
CELLS = [(task, code) for task, spec in TASKS.items() for code in spec.languages]

# The Unicode name with which most letters of a language begin.
SCRIPTS = {
    "ARABIC": "ar fa ur",
    "BENGALI": "bn",
    "CJK": "zh",
    "CYRILLIC": "bg kk ru uk",
    "DEVANAGARI": "hi mr",
    "GEORGIAN": "ka",
    "GREEK": "el",
    "GUJARATI": "gu",
    "GURMUKHI": "pa",
    "HANGUL": "ko",
    "HEBREW": "he",
    "HIRAGANA": "ja",
    "MALAYALAM": "ml",
    "MYANMAR": "my",
    "TAMIL": "ta",
    "TELUGU": "te",
    "THAI": "th",
}
SCRIPT_OF = {code: script for script, codes in SCRIPTS.items() for code in codes.split()}


@pytest.fixture(scope="module")
def library() -> Library:
    return open_library("bundled")


def _json(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def _records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def _texts(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_committed_data_is_what_the_script_writes(tmp_path: Path, project_root: Path) -> None:
    command = [sys.executable, "-m", "scripts.bundled.build", "--out", str(tmp_path)]
    subprocess.run(command, cwd=project_root, check=True, capture_output=True)
    written, committed = _texts(tmp_path), _texts(DATA)
    assert sorted(written) == sorted(committed)
    assert [name for name in written if written[name] != committed[name]] == []


def test_every_cell_of_the_benchmark_is_there() -> None:
    assert len(CELLS) == 203
    assert {code for _, code in CELLS} == set(LANGUAGES)


@pytest.mark.parametrize(("task", "language"), CELLS)
def test_a_cell_has_two_items_with_gold_or_more(library: Library, task: Task, language: str) -> None:
    examples = library.read(task, language).examples
    assert len(examples) >= 2
    assert all(has_gold(example) for example in examples)


@pytest.mark.parametrize("task", list(Task))
def test_items_of_a_task_differ_in_length(library: Library, task: Task) -> None:
    for language in TASKS[task].languages:
        lengths = {len(repr(example)) for example in library.read(task, language).examples}
        assert len(lengths) > 1, language


@pytest.mark.parametrize(
    "name",
    [
        *(f"xquad/xquad.{code}.json" for code in TASKS[Task.XQUAD].languages),
        *(f"mlqa/MLQA_V1/test/test-context-{c}-question-{c}.json" for c in TASKS[Task.MLQA].languages),
        *(f"tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.{c}.dev.json" for c in TASKS[Task.TYDIQA].languages),
        *(f"lareqa/xquad-r/{code}.json" for code in TASKS[Task.LAREQA].languages),
    ],
)
def test_answers_stand_where_their_offsets_say(name: str) -> None:
    ids = Counter[str]()
    for article in _json(name)["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                ids[question["id"]] += 1
                (answer,) = question["answers"]
                start, text = answer["answer_start"], answer["text"]
                assert text
                assert paragraph["context"][start : start + len(text)] == text
    assert max(ids.values()) == 1


def test_ids_of_questions_are_shared_by_languages_but_for_tydiqa() -> None:
    def ids(name: str) -> set[str]:
        return {q["id"] for a in _json(name)["data"] for p in a["paragraphs"] for q in p["qas"]}

    assert ids("lareqa/xquad-r/th.json") == ids("lareqa/xquad-r/de.json") == ids("xquad/xquad.ro.json")
    finnish = ids("tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.fi.dev.json")
    assert all(identity.startswith("finnish-") for identity in finnish)


@pytest.mark.parametrize("language", TASKS[Task.LAREQA].languages)
def test_sentence_breaks_cut_out_the_sentences_and_each_question_has_one(language: str) -> None:
    for article in _json(f"lareqa/xquad-r/{language}.json")["data"]:
        for paragraph in article["paragraphs"]:
            context, breaks = paragraph["context"], paragraph["sentence_breaks"]
            assert [context[start:end] for start, end in breaks] == paragraph["sentences"]
            assert len(set(paragraph["sentences"])) == len(breaks)
            assert 3 <= len(breaks) <= 6
            for question in paragraph["qas"]:
                text = question["answers"][0]["text"]
                assert sum(text in sentence for sentence in paragraph["sentences"]) == 1


def test_a_lareqa_question_is_answered_once_in_every_language(library: Library) -> None:
    found = Counter[str]()
    asked = Counter[str]()
    for code in TASKS[Task.LAREQA].languages:
        portion = library.read(Task.LAREQA, code)
        found.update(key for candidate in portion.candidates for key in candidate.keys)
        asked.update(key for query in portion.examples for key in query.keys)  # type: ignore[union-attr]  # queries
        assert len(portion.candidates) == 10
    assert set(found.values()) == set(asked.values()) == {len(TASKS[Task.LAREQA].languages)}
    assert found.keys() == asked.keys()


def test_mentions_stand_where_their_spans_say_and_mean_one_candidate() -> None:
    entities = _records("mewslix/candidate_set_entities.jsonl")
    ids = Counter(entity["entity_id"] for entity in entities)
    assert max(ids.values()) == 1
    per_language = Counter(entity["description_language"] for entity in entities)
    assert set(per_language) == set(LANGUAGES)
    assert min(per_language.values()) >= 2
    for entity in entities:
        for span in entity["sentence_spans"]:
            assert entity["description"][span["start"] : span["end"]].strip()
    languages = Counter[str]()
    for record in _records("mewslix/wikinews_mentions-test.jsonl"):
        text, spans = record["context"]["text"], record["context"]["sentence_spans"]
        for mention in record["mentions"]:
            span = mention["mention_span"]
            assert text[span["start"] : span["end"]] == span["text"]
            assert sum(s["start"] <= span["start"] and span["end"] <= s["end"] for s in spans) == 1
            assert ids[mention["entity_id"]] == 1
            languages[record["context"]["language"]] += 1
    assert set(languages) == set(TASKS[Task.MEWSLIX].languages)


def test_some_mentions_mean_an_entity_described_in_another_language() -> None:
    described = {
        entity["entity_id"]: entity["description_language"]
        for entity in _records("mewslix/candidate_set_entities.jsonl")
    }
    across = [
        described[mention["entity_id"]] != record["context"]["language"]
        for record in _records("mewslix/wikinews_mentions-test.jsonl")
        for mention in record["mentions"]
    ]
    assert any(across)
    assert not all(across)


def test_entity_ids_are_none_of_wikidatas() -> None:
    numbers = [int(entity["entity_id"][1:]) for entity in _records("mewslix/candidate_set_entities.jsonl")]
    assert min(numbers) > 9_000_000_000  # Wikidata counts in the hundreds of millions


@pytest.mark.parametrize("language", TASKS[Task.TATOEBA].languages)
def test_tatoeba_pairs_have_as_many_distinct_lines(language: str) -> None:
    code = ISO_639_3[language]
    own = (DATA / f"tatoeba/tatoeba.{code}-eng.{code}").read_text(encoding="utf-8").splitlines()
    english = (DATA / f"tatoeba/tatoeba.{code}-eng.eng").read_text(encoding="utf-8").splitlines()
    assert len(own) == len(english) == len(set(own)) == len(set(english))
    assert all(line.strip() == line != "" for line in own)


def test_tags_are_those_of_the_benchmark_and_every_label_occurs(library: Library) -> None:
    seen: dict[Task, set[str]] = {Task.UDPOS: set(), Task.PANX: set()}
    for task, tags in seen.items():
        for language in TASKS[task].languages:
            for example in library.read(task, language).examples:
                assert isinstance(example, WordsExample)
                assert example.tags is not None
                assert len(example.words) == len(example.tags)
                tags.update(example.tags)
    assert seen[Task.PANX] == set(ENTITY_LABELS)
    assert seen[Task.UDPOS] == set(UPOS_LABELS)


@pytest.mark.parametrize("language", TASKS[Task.UDPOS].languages)
def test_treebanks_state_the_text_that_their_words_make(language: str) -> None:
    text = (DATA / f"ud/{language}_sample-ud-test.conllu").read_text(encoding="utf-8")
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        rows = [line.split("\t") for line in lines if not line.startswith("#")]
        assert all(len(row) == 10 for row in rows)
        assert [row[0] for row in rows] == [str(i) for i in range(1, len(rows) + 1)]
        assert [row[6] for row in rows].count("0") == 1
        made = "".join(row[1] + ("" if row[9] == "SpaceAfter=No" else " ") for row in rows)
        assert lines[1] == f"# text = {made.strip()}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_written_in_its_script(language: str) -> None:
    description = " ".join(
        entity["description"]
        for entity in _records("mewslix/candidate_set_entities.jsonl")
        if entity["description_language"] == language
    )
    letters = [unicodedata.name(c).split()[0] for c in description if c.isalpha()]
    expected = SCRIPT_OF.get(language, "LATIN")
    share = sum(name == expected for name in letters) / len(letters)
    assert share > (0.3 if language == "ja" else 0.8)


def test_english_has_items_that_need_more_than_one_window(
    library: Library, real_tokenizer_file: Path
) -> None:
    tokenizer = Tokenizer.from_file(str(real_tokenizer_file))
    for task in (Task.XQUAD, Task.MLQA, Task.TYDIQA):
        contexts = [getattr(example, "context", "") for example in library.read(task, "en").examples]
        lengths = [len(tokenizer.encode(context).ids) for context in contexts]
        assert max(lengths) > 384, task
        assert min(lengths) < 200, task
    for task in (Task.UDPOS, Task.PANX):
        sentences = [getattr(example, "words", ()) for example in library.read(task, "en").examples]
        lengths = [len(tokenizer.encode(list(words), is_pretokenized=True).ids) for words in sentences]
        assert max(lengths) > 128, task
        assert min(lengths) < 20, task


def test_the_sample_says_what_it_is() -> None:
    readme = (DATA.parent / "README.md").read_text(encoding="utf-8")
    assert "not a benchmark" in readme
    assert "CC0 1.0" in readme


def test_no_data_sets_licence_is_claimed_for_it(library: Library, tmp_path: Path) -> None:
    assert {library.licence_of(task) for task in Task} == {BUNDLED_LICENCE}
    assert Library(tmp_path).licence_of(Task.TYDIQA) == "Apache-2.0"


def test_an_oracle_scores_one_on_every_cell_of_a_trace(tmp_path: Path, project_root: Path) -> None:
    """Gold and ids as a trace has them; each candidate has a vector of its own, a query those of its gold."""
    out = tmp_path / "trace"
    law = ["--arrivals", "constant:10", "--duration", "1", "--seed", "3"]
    command = [sys.executable, "-m", "loadtest", "trace", "--data", "bundled", *law, "--out", str(out)]
    command += ["--tasks", "all", "--languages", "all", "--limit", "1000"]
    subprocess.run(command, cwd=project_root, check=True, capture_output=True)
    items = list(read_items(out / "items.jsonl"))
    gold = {item: answer.gold for item, answer in read_gold(out / "gold.jsonl").items()}
    asked = [item for item in items if item.role is not Role.CANDIDATE]
    assert {item.id for item in asked} == set(gold)
    scores = []
    for task, language in CELLS:
        candidates = _candidates([i for i in items if i.task == task and i.role is Role.CANDIDATE])
        right = {item.id: gold[item.id] for item in asked if (item.task, item.language) == (task, language)}
        answers = {item: _oracle(task, wanted, candidates) for item, wanted in right.items()}
        scores.append(score_task(task, language, answers, right, candidates=candidates))
    assert {score.value for score in scores} == {1.0}
    assert sum(score.n_scored for score in scores) == len(asked)
    average = average_scores(scores)
    assert average.is_complete
    assert average.value == 1


@pytest.mark.parametrize(("task", "num_languages"), [("mlqa", 7), ("xquad", 12), ("lareqa", 11)])
def test_a_trace_says_which_questions_are_translations(
    tmp_path: Path, project_root: Path, task: str, num_languages: int
) -> None:
    out = tmp_path / "trace"
    command = [sys.executable, "-m", "loadtest", "trace", "--data", "bundled", "--tasks", task]
    command += ["--languages", "all", "--limit", "1000", "--arrivals", "constant:10", "--duration", "1"]
    subprocess.run([*command, "--out", str(out)], cwd=project_root, check=True, capture_output=True)
    units = [answer.unit for answer in read_gold(out / "gold.jsonl").values()]
    assert all(units)
    together = Counter(Counter(units).values())
    assert together[num_languages] == 6
    assert together.keys() <= {1, num_languages}


def _candidates(items: list[Item]) -> Candidates:
    return Candidates(
        ids=tuple(item.id for item in items),
        embeddings=np.eye(len(items), dtype=np.float32),
        languages=tuple(item.language for item in items),
    )


def _oracle(task: Task, gold: Any, candidates: Candidates) -> Answer:
    match TASKS[task].head.value:
        case "classify":
            return {"label": gold, "scores": {gold: 1.0}}
        case "choose":
            return {"choice": gold, "scores": [1.0 - gold, float(gold)]}
        case "tag":
            return {"tags": [{"tag": tag, "score": 1.0} for tag in gold]}
        case "span":
            return {"answers": [{"text": gold[0], "start": 0, "end": len(gold[0]), "score": 1.0}]}
        case _:
            rows = [candidates.ids.index(right) for right in gold]
            vector: np.ndarray[Any, np.dtype[np.float32]] = candidates.embeddings[rows].sum(axis=0)
            return vector


def test_no_sentence_comes_from_a_data_set(xtreme_r_dir: Path) -> None:
    """Sentences of the sample, as long as a sentence, against the data set files of the same language."""
    sample: dict[str, set[str]] = {}
    library = open_library("bundled")
    for task, language in CELLS:
        texts = sample.setdefault(language, set())
        for example in library.read(task, language).examples:
            texts.update(_sentences(example))
    taken = []
    for language, texts in sample.items():
        theirs = _their_text(xtreme_r_dir, language)
        taken += [text for text in texts if len(text) > 25 and text in theirs]
    assert taken == []


def _sentences(example: Any) -> list[str]:
    values = [getattr(example, name) for name in example.__dataclass_fields__]
    texts = [" ".join(v) if isinstance(v, tuple) else v for v in values if isinstance(v, str | tuple) and v]
    return [part.strip() for text in texts for part in text.replace("\n", ". ").split(". ")]


def _their_text(folder: Path, language: str) -> str:
    code = ISO_639_3.get(language, language)
    names = [
        f"*.{language}.*",
        f"*-{language}.*",
        f"{language}.json",
        f"{language}_*",
        f"*.{code}",
        f"*{language}.json",
    ]
    files = {path for name in names for path in folder.rglob(name) if path.suffix != ".zip"}
    return "\n".join(_unescaped(path) for path in sorted(files))


def _unescaped(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return json.dumps(json.loads(text), ensure_ascii=False) if path.suffix == ".json" else text
