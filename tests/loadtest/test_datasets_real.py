"""The readers on the public files themselves, held against counts that were published or made apart."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from loadtest.datasets import conllu, tagged
from loadtest.datasets.examples import has_gold
from loadtest.datasets.files import read_lines_file
from loadtest.datasets.library import Library
from loadtest.datasets.tasks import TASKS, UPOS_LABELS, Task

if TYPE_CHECKING:
    from pathlib import Path

# LAReQA's own counts of candidate sentences (13,014 with zh) and questions a language.
LAREQA_CANDIDATES = {
    "ar": 1222,
    "de": 1276,
    "el": 1234,
    "en": 1180,
    "es": 1215,
    "hi": 1244,
    "ru": 1219,
    "th": 852,
    "tr": 1167,
    "vi": 1209,
    "zh": 1196,
}
TATOEBA_PAIRS = {"jv": 205, "te": 234, "ta": 307, "sw": 390, "th": 548, "kk": 575, "ml": 687, "ka": 746}
TYDIQA = {"ar": 921, "bn": 113, "en": 440, "fi": 782, "id": 565, "ko": 276, "ru": 812, "sw": 499, "te": 669}
MLQA_DEV = {"en": 1148, "de": 512, "es": 500, "ar": 517, "zh": 504, "vi": 511, "hi": 507}
MLQA_TEST = {"en": 11590, "de": 4517, "es": 5254, "ar": 5335, "zh": 5137, "vi": 5495, "hi": 4918}
PANX_SMALL = dict.fromkeys(("jv", "my", "yo", "qu", "pa", "gu"), 100) | dict.fromkeys(
    ("af", "bn", "hi", "kk", "ml", "mr", "ms", "sw", "ta", "te", "tl", "ur", "az"), 1000
)


@pytest.fixture(scope="module")
def library(xtreme_r_dir: Path) -> Library:
    return Library(xtreme_r_dir)


def _counts(library: Library, task: Task) -> dict[str, int]:
    return {code: len(library.read(task, code).examples) for code in library.languages(task)}


@pytest.mark.parametrize(
    ("task", "published"),
    [
        (Task.XNLI, dict.fromkeys(TASKS[Task.XNLI].languages, 5010)),
        (Task.XCOPA, dict.fromkeys(TASKS[Task.XCOPA].languages, 500)),
        (Task.XQUAD, dict.fromkeys(TASKS[Task.XQUAD].languages, 1190)),
        (Task.LAREQA, dict.fromkeys(TASKS[Task.LAREQA].languages, 1190)),
        (Task.TYDIQA, TYDIQA),
        (Task.TATOEBA, dict.fromkeys(TASKS[Task.TATOEBA].languages, 1000) | TATOEBA_PAIRS),
        (Task.PANX, dict.fromkeys(TASKS[Task.PANX].languages, 10000) | PANX_SMALL),
    ],
)
def test_every_language_has_the_published_number_of_examples(
    library: Library, task: Task, published: dict[str, int]
) -> None:
    counts = _counts(library, task)
    assert counts
    assert counts == {code: published[code] for code in counts}


def test_mlqa_has_the_published_number_of_its_test_or_development_questions(library: Library) -> None:
    counts = _counts(library, Task.MLQA)
    assert counts
    for code, count in counts.items():
        (file,) = library.read(Task.MLQA, code).files
        assert count == (MLQA_TEST if "/test/" in file.name else MLQA_DEV)[code]


def test_lareqa_has_the_published_number_of_candidate_sentences(library: Library) -> None:
    counts = {c: len(library.read(Task.LAREQA, c).candidates) for c in library.languages(Task.LAREQA)}
    assert counts
    assert counts == {code: LAREQA_CANDIDATES[code] for code in counts}
    assert sum(LAREQA_CANDIDATES.values()) == 13014


def test_every_question_of_lareqa_is_answered_in_every_language(library: Library) -> None:
    for code in library.languages(Task.LAREQA):
        portion = library.read(Task.LAREQA, code)
        answered = {key for candidate in portion.candidates for key in candidate.keys}
        asked = {key for query in portion.examples for key in getattr(query, "keys", ())}
        assert len(asked) == 1190
        assert asked == answered


def test_conllu_gives_the_sentences_that_the_benchmarks_own_conversion_gave(xtreme_r_dir: Path) -> None:
    """XTREME's TSV files hold all treebanks of a language, and so every sentence of these CoNLL-U files."""
    num_compared = 0
    for path in sorted((xtreme_r_dir / "ud").glob("*-ud-test.conllu")):
        code = path.name.split("_")[0]
        converted = xtreme_r_dir / "udpos" / f"test-{code}.tsv"
        if not converted.is_file():
            continue
        theirs = Counter(
            example.words for example in tagged.read(read_lines_file(converted), labels=UPOS_LABELS)
        )
        ours = Counter(example.words for example in conllu.read(read_lines_file(path), language=code))
        assert not ours - theirs, f"{code}: {sum((ours - theirs).values())} sentences differ"
        num_compared += sum(ours.values())
    assert num_compared > 25_000


def test_answers_of_questions_stand_in_their_contexts(library: Library) -> None:
    for task in (Task.XQUAD, Task.MLQA):
        for code in library.languages(task):
            for example in library.read(task, code).examples:
                assert has_gold(example)
                context, answers = getattr(example, "context", ""), getattr(example, "answers", ())
                assert all(answer in context for answer in answers)


def test_mentions_are_marked_in_the_example_articles(library: Library) -> None:
    texts = [
        getattr(query, "text", "")
        for code in library.languages(Task.MEWSLIX)
        for query in library.read(Task.MEWSLIX, code).examples
    ]
    assert texts
    for text in texts:
        mention = text.split(":")[0]
        assert f"{{ {mention} }}" in text
