"""The one entry point: what counts, what does not, and what a malformed answer is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loadtest.analysis.scoring import Candidates, Score, ScoringError, Unanswered, score_task
from loadtest.datasets.tasks import TASKS, Metric, Task

CANDIDATES = Candidates(ids=("c0", "c1", "c2"), embeddings=np.eye(3, dtype=np.float32))

# A right and a wrong answer of each task for the same gold.
CASES: dict[Task, tuple[Any, Any, Any]] = {
    Task.XNLI: ({"label": "neutral"}, {"label": "entailment"}, "neutral"),
    Task.XCOPA: ({"choice": 0}, {"choice": 1}, 0),
    Task.UDPOS: (
        {"tags": [{"tag": "DET"}, {"tag": "NOUN"}]},
        {"tags": [{"tag": "ADJ"}, {"tag": "VERB"}]},
        ["DET", "NOUN"],
    ),
    Task.PANX: (
        {"tags": [{"tag": "B-PER"}, {"tag": "I-PER"}]},
        {"tags": [{"tag": "B-PER"}, {"tag": "O"}]},
        ["B-PER", "I-PER"],
    ),
    Task.XQUAD: (
        {"answers": [{"text": "The tower."}]},
        {"answers": [{"text": "ship"}]},
        ["tower", "white tower"],
    ),
    Task.MLQA: ({"answers": [{"text": "the tower"}]}, {"answers": [{"text": "ship"}]}, ["tower"]),
    Task.TYDIQA: ({"answers": [{"text": "tower"}]}, {"answers": [{"text": "ship"}]}, ["tower"]),
    Task.TATOEBA: ({"embedding": [0.0, 9.0, 1.0]}, {"embedding": [9.0, 1.0, 0.0]}, ["c1"]),
    Task.MEWSLIX: (np.array([0, 1, 0], np.float32), {"embedding": [0, float("nan"), 0]}, ["c1"]),
    Task.LAREQA: (np.array([0, 2, 1], np.float32), {"embedding": [1.0]}, ["c1", "c2"]),
}


def _score(task: Task, answers: dict[str, Any], gold: dict[str, Any], **options: Any) -> Score:
    candidates = CANDIDATES if TASKS[task].retrieves else None
    return score_task(task, "en", answers, gold, candidates=candidates, **options)


@pytest.mark.parametrize("task", list(Task))
def test_an_oracle_scores_one(task: Task) -> None:
    right, _, gold = CASES[task]
    score = _score(task, {"a": right, "b": right}, {"a": gold, "b": gold})
    assert score.value == 1
    assert (score.n_scored, score.n_unscored, score.n_malformed) == (2, 0, 0)
    assert all(item.is_correct and item.value == 1 for item in score.items)
    assert score.metric is TASKS[task].metric


@pytest.mark.parametrize("task", list(Task))
def test_a_wrong_answer_scores_nothing(task: Task) -> None:
    right, wrong, gold = CASES[task]
    score = _score(task, {"a": right, "b": wrong}, {"a": gold, "b": gold})
    assert score.items[0].is_correct
    assert not score.items[1].is_correct
    assert score.items[1].value == 0
    expected = 2 * 1 / (2 + 2) if task is Task.PANX else 0.5  # F1 of one hit among two found and two wanted
    assert score.value == pytest.approx(expected)


@pytest.mark.parametrize("task", list(Task))
def test_no_items_and_no_gold_have_no_value(task: Task) -> None:
    right, _, gold = CASES[task]
    empty = _score(task, {}, {})
    assert (empty.value, empty.n_scored, empty.n_unscored, empty.items) == (None, 0, 0, ())
    unscored = _score(task, {"a": right, "b": right}, {})
    assert (unscored.value, unscored.n_scored, unscored.n_without_gold) == (None, 0, 2)
    partly = _score(task, {"a": right, "b": right}, {"a": gold})
    assert (partly.value, partly.n_scored, partly.n_unscored) == (1, 1, 1)


@pytest.mark.parametrize("task", list(Task))
def test_an_unanswered_item_is_wrong_or_skipped(task: Task) -> None:
    right, _, gold = CASES[task]
    truth = {"a": gold, "b": gold}
    counted = _score(task, {"a": right}, truth)
    assert counted.value == pytest.approx(
        2 / 3 if TASKS[task].metric in (Metric.UPOS_F1, Metric.ENTITY_F1) else 1 / 2
    )
    assert (counted.n_scored, counted.n_unanswered, counted.n_unscored, counted.n_malformed) == (2, 1, 0, 0)
    skipped = _score(task, {"a": right}, truth, unanswered=Unanswered.SKIP)
    assert (skipped.value, skipped.n_scored, skipped.n_unanswered, skipped.n_unscored) == (1, 1, 1, 1)
    none_left = _score(task, {}, truth, unanswered=Unanswered.SKIP)
    assert (none_left.value, none_left.n_scored, none_left.n_unscored) == (None, 0, 2)


MALFORMED: dict[Task, list[Any]] = {
    Task.XNLI: [{}, {"label": 3}, {"error": {"type": "x"}}],
    Task.XCOPA: [{"choice": True}, {"choice": "0"}],
    Task.UDPOS: [{"tags": [{"tag": "DET"}]}, {"tags": "DET"}, {"tags": None}],
    Task.PANX: [{"tags": [{"tag": "B-PER"}] * 3}, {}],
    Task.XQUAD: [{"answers": []}, {"answers": [{"text": 5}]}, {"answers": ["tower"]}],
    Task.MLQA: [{}],
    Task.TYDIQA: [{"error": {"type": "empty-text"}}],
    Task.TATOEBA: [{"embedding": "AAAA"}, {"embedding": [1.0]}, {"embedding": [["x"]]}],
    Task.MEWSLIX: [np.array([np.nan, 1, 1], np.float32), np.zeros((3, 3), np.float32)],
    Task.LAREQA: [{}, {"embedding": None}],
}


@pytest.mark.parametrize(
    ("task", "answer"), [(task, bad) for task, bads in MALFORMED.items() for bad in bads]
)
def test_a_malformed_answer_is_a_wrong_one(task: Task, answer: Any) -> None:
    right, _, gold = CASES[task]
    score = _score(task, {"a": right, "b": answer}, {"a": gold, "b": gold})
    assert score.n_malformed == 1
    assert score.n_scored == 2
    assert not score.items[1].is_correct
    assert score.value is not None
    assert score.value < 1


def test_stripped_gold_is_no_gold() -> None:
    for task, gold in ((Task.XNLI, ""), (Task.XQUAD, [""]), (Task.TYDIQA, []), (Task.MEWSLIX, [""])):
        right = CASES[task][0]
        score = _score(task, {"a": right}, {"a": gold})
        assert (score.value, score.n_without_gold) == (None, 1)


def test_the_choice_zero_is_gold() -> None:
    assert _score(Task.XCOPA, {"a": {"choice": 1}}, {"a": 0}).value == 0


def test_served_labels_are_mapped_by_name() -> None:
    labels = {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}
    answers = {"a": {"label": "LABEL_2"}, "b": {"label": "LABEL_0"}, "c": {"label": "neutral"}}
    gold = {"a": "neutral", "b": "entailment", "c": "neutral"}
    assert score_task("xnli", "de", answers, gold, labels=labels).value == pytest.approx(2 / 3)
    tags = {"a": {"tags": [{"tag": "B-Person"}, {"tag": "I-Person"}]}}
    mapped = score_task(
        "panx", "de", tags, {"a": ["B-PER", "I-PER"]}, labels={"B-Person": "B-PER", "I-Person": "I-PER"}
    )
    assert mapped.value == 1


def test_qa_value_is_the_mean_of_exact_match_and_f1() -> None:
    answers = {"a": {"answers": [{"text": "red tower"}]}, "b": {"answers": [{"text": "tower"}]}}
    score = _score(Task.XQUAD, answers, {"a": ["tower"], "b": ["tower"]})
    assert score.parts == {"exact_match": 0.5, "f1": pytest.approx((2 / 3 + 1) / 2)}
    assert score.value == pytest.approx((0.5 + 5 / 6) / 2)
    assert [item.value for item in score.items] == [pytest.approx(1 / 3), 1]


def test_mlqa_drops_the_articles_of_its_language_and_xquad_does_not() -> None:
    answers, gold = {"a": {"answers": [{"text": "der Turm"}]}}, {"a": ["Turm"]}
    assert score_task("mlqa", "de", answers, gold).value == 1
    xquad = score_task("xquad", "de", answers, gold)
    assert xquad.parts == {"exact_match": 0, "f1": pytest.approx(2 / 3)}


def test_lareqa_by_hand() -> None:
    # Ranking c1 c2 c0, right are c1 and c0: (1/1 + 2/3) / 2.
    score = _score(Task.LAREQA, {"a": np.array([0, 2, 1], np.float32)}, {"a": ["c1", "c0"]})
    assert score.value == pytest.approx(5 / 6)
    assert score.parts == {"accuracy_at_1": 1}


def test_the_average_precision_is_cut_at_twenty() -> None:
    ids = tuple(f"c{i}" for i in range(30))
    candidates = Candidates(ids=ids, embeddings=np.arange(30, 0, -1, dtype=np.float32)[:, None])
    query = {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}
    score = score_task("mewslix", "en", query, {"a": ["c19"], "b": ["c20"]}, candidates=candidates)
    assert [item.value for item in score.items] == [pytest.approx(1 / 20), 0]


def test_tatoeba_compares_by_cosine_and_the_others_by_inner_product() -> None:
    long = Candidates(ids=("far", "near"), embeddings=np.array([[9, 9], [1, 0]], np.float32))
    query = {"a": np.array([1, 0], np.float32)}
    assert score_task("tatoeba", "de", query, {"a": ["near"]}, candidates=long).value == 1
    assert score_task("mewslix", "de", query, {"a": ["near"]}, candidates=long).value == pytest.approx(1 / 2)


def test_tatoeba_searches_only_its_own_language() -> None:
    both = Candidates(
        ids=("tatoeba/de/c0", "tatoeba/nl/c0", "tatoeba/de/c1"),
        embeddings=np.array([[1, 1], [1, 0], [0, 1]], np.float32),
        languages=("de", "nl", "de"),
    )
    query, gold = {"a": np.array([1, 0], np.float32)}, {"a": ["tatoeba/de/c0"]}
    assert score_task("tatoeba", "de", query, gold, candidates=both).value == 1
    ranked = score_task("lareqa", "de", query, gold, candidates=both)  # equal products: the earlier one first
    assert ranked.value == 1
    with pytest.raises(ScoringError, match="no candidate embeddings"):
        score_task("tatoeba", "fr", query, {"a": ["tatoeba/fr/c0"]}, candidates=both)


def test_lareqa_and_mewslix_search_all_languages() -> None:
    both = Candidates(ids=("de", "nl"), embeddings=np.eye(2, dtype=np.float32), languages=("de", "nl"))
    query, gold = {"a": np.array([0, 1], np.float32)}, {"a": ["nl"]}
    for task in ("lareqa", "mewslix"):
        assert score_task(task, "de", query, gold, candidates=both).value == 1


def test_answers_of_one_vector_for_all_do_not_score() -> None:
    # Equal similarities rank by place, so a constant encoder finds one translation of a hundred, not all.
    ids = tuple(f"c{i}" for i in range(100))
    candidates = Candidates(ids=ids, embeddings=np.ones((100, 4), np.float32))
    answers = {f"q{i}": np.ones(4, np.float32) for i in range(100)}
    gold = {f"q{i}": [f"c{i}"] for i in range(100)}
    assert score_task("tatoeba", "de", answers, gold, candidates=candidates).value == pytest.approx(0.01)


def test_tag_counts_add_up_to_the_score() -> None:
    right, wrong, gold = CASES[Task.PANX]
    score = _score(Task.PANX, {"a": right, "b": wrong}, {"a": gold, "b": gold})
    counts = [item.counts for item in score.items if item.counts is not None]
    assert [(c.num_matched, c.num_predicted, c.num_gold) for c in counts] == [(1, 1, 1), (0, 1, 1)]


def test_sentences_without_any_entity_have_no_f1() -> None:
    score = _score(Task.PANX, {"a": {"tags": [{"tag": "O"}]}}, {"a": ["O"]})
    assert (score.value, score.n_scored, score.items[0].value) == (None, 1, 1)
    assert score.parts == {"token_accuracy": 1}


def test_no_answer_is_never_right_by_accident() -> None:
    # Where silence looks like the right answer: nothing to tag, and gold that normalises to nothing.
    tagged = _score(Task.PANX, {"b": {"tags": []}}, {"a": ["O"], "b": ["O", "O"]})
    assert [(item.value, item.is_correct) for item in tagged.items] == [(0, False), (0, False)]
    assert tagged.parts == {"token_accuracy": 0}
    asked = _score(Task.XQUAD, {"b": {"answers": []}}, {"a": ["the"], "b": ["the"]})
    assert (asked.value, asked.n_unanswered, asked.n_malformed) == (0, 1, 1)


def test_refusals_say_what_to_do() -> None:
    with pytest.raises(ScoringError, match=r"no metric for task 'pawsx'; the tasks are xnli, xcopa"):
        score_task("pawsx", "de", {}, {})
    with pytest.raises(ScoringError, match="run the index phase first"):
        score_task("tatoeba", "de", {"a": np.ones(2, np.float32)}, {"a": ["c0"]})
    with pytest.raises(ScoringError, match="2 ids but embeddings of shape"):
        Candidates(ids=("a", "b"), embeddings=np.ones((3, 2), np.float32))
    with pytest.raises(ScoringError, match="1 languages; give one for each id"):
        Candidates(ids=("a", "b"), embeddings=np.ones((2, 2), np.float32), languages=("de",))
    with pytest.raises(ScoringError, match="build the trace anew"):
        score_task("udpos", "de", {"a": {"tags": []}}, {"a": 3})
