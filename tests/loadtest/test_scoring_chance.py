"""Where chance lies: closed forms against enumeration, and random answerers of every metric against both."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from loadtest.analysis.scoring import Candidates, score_task
from loadtest.analysis.scoring.chance import accuracy_by_chance, average_precision_by_chance
from loadtest.analysis.scoring.retrieval import average_precision
from loadtest.datasets.tasks import ENTITY_LABELS, NLI_LABELS, TASKS, UPOS_LABELS, Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.analysis.scoring import Score

NUM_ITEMS = 2000
SIGMAS = (
    4.5  # a right implementation fails such a bound with a probability below 1e-5; seeds are fixed anyway
)


def _assert_near(value: float | None, expected: float, n: int = NUM_ITEMS) -> None:
    """Hold a share of n fair draws to its binomial bound."""
    assert value is not None
    assert abs(value - expected) < SIGMAS * math.sqrt(expected * (1 - expected) / n)


@pytest.mark.parametrize(
    ("candidates", "relevant", "k"), [(6, 2, 3), (5, 1, 5), (4, 4, 2), (7, 3, 20), (1, 1, 20)]
)
def test_expected_average_precision_equals_the_mean_over_all_orders(
    candidates: int, relevant: int, k: int
) -> None:
    ranked = [str(i) for i in range(candidates)]
    subsets = list(itertools.combinations(ranked, relevant))
    mean = sum(average_precision(ranked, subset, k) for subset in subsets) / len(subsets)
    assert average_precision_by_chance(relevant, candidates, k) == pytest.approx(mean)


def test_expected_reciprocal_rank_is_the_harmonic_sum() -> None:
    harmonic = float(sum(Fraction(1, rank) for rank in range(1, 21)))
    assert average_precision_by_chance(1, 1000, 20) == pytest.approx(harmonic / 1000)


def test_nothing_relevant_is_never_found() -> None:
    assert average_precision_by_chance(0, 10, 20) == 0


def test_random_labels() -> None:
    rng = np.random.default_rng(11)
    gold = dict(enumerate(rng.choice(NLI_LABELS, NUM_ITEMS).tolist()))
    answers = {i: {"label": str(label)} for i, label in enumerate(rng.choice(NLI_LABELS, NUM_ITEMS))}
    _assert_near(_score(Task.XNLI, answers, gold).value, accuracy_by_chance(3))


def test_random_choices() -> None:
    rng = np.random.default_rng(12)
    gold = dict(enumerate(rng.integers(0, 2, NUM_ITEMS).tolist()))
    answers = {i: {"choice": choice} for i, choice in enumerate(rng.integers(0, 2, NUM_ITEMS).tolist())}
    _assert_near(_score(Task.XCOPA, answers, gold).value, accuracy_by_chance(2))


def test_random_upos_on_sentences_of_one_word() -> None:
    # One word, one chunk: F1 is accuracy. 15 tags meet themselves; CCONJ and SCONJ meet each other too.
    rng = np.random.default_rng(13)
    score = _score(Task.UDPOS, *_random_tags(rng, UPOS_LABELS, UPOS_LABELS))
    _assert_near(score.value, (15 * 1 + 2 * 2) / 17**2)
    _assert_near(score.parts["token_accuracy"], 1 / 17)


def test_random_entities_on_sentences_of_one_word() -> None:
    # Two of seven tags are chunks of the right type, six are chunks at all: F1 = 2 * 2/7 / (6/7 + 1) = 4/13.
    rng = np.random.default_rng(14)
    score = _score(Task.PANX, *_random_tags(rng, ENTITY_LABELS, ("B-LOC", "B-ORG", "B-PER")))
    _assert_near(score.value, 4 / 13)
    _assert_near(score.parts["recall"], 2 / 7)
    _assert_near(score.parts["precision"], 1 / 3, n=int(NUM_ITEMS * 6 / 7))


@pytest.mark.parametrize("task", [Task.XQUAD, Task.MLQA, Task.TYDIQA])
def test_random_answers(task: Task) -> None:
    rng = np.random.default_rng(15)
    words = [f"word{i}" for i in range(10)]
    gold = {i: [word] for i, word in enumerate(rng.choice(words, NUM_ITEMS).tolist())}
    answers = {i: _span(word) for i, word in enumerate(rng.choice(words, NUM_ITEMS).tolist())}
    score = _score(task, answers, gold)
    _assert_near(score.value, 1 / 10)
    assert score.parts["f1"] == pytest.approx(score.parts["exact_match"])  # one token: all or nothing


def test_random_embeddings_find_a_translation_by_chance() -> None:
    rng = np.random.default_rng(16)
    answers, gold, candidates = _random_embeddings(rng, num_candidates=40, num_relevant=1)
    _assert_near(_score(Task.TATOEBA, answers, gold, candidates).value, accuracy_by_chance(40))


@pytest.mark.parametrize(("task", "num_relevant"), [(Task.MEWSLIX, 1), (Task.LAREQA, 11)])
def test_random_embeddings_rank_by_chance(task: Task, num_relevant: int) -> None:
    rng = np.random.default_rng(17)
    answers, gold, candidates = _random_embeddings(rng, num_candidates=110, num_relevant=num_relevant)
    score = _score(task, answers, gold, candidates)
    spread = np.std([item.value for item in score.items]) / math.sqrt(NUM_ITEMS)
    assert score.value is not None
    assert abs(score.value - average_precision_by_chance(num_relevant, 110, 20)) < SIGMAS * spread


def test_every_task_has_a_random_answerer_here() -> None:
    covered = {Task.XNLI, Task.XCOPA, Task.UDPOS, Task.PANX, Task.XQUAD, Task.MLQA, Task.TYDIQA}
    assert covered | {Task.TATOEBA, Task.MEWSLIX, Task.LAREQA} == set(TASKS)


def _score(
    task: Task, answers: dict[int, Any], gold: dict[int, Any], candidates: Candidates | None = None
) -> Score:
    named = {f"i{item}": answer for item, answer in answers.items()}
    truth = {f"i{item}": answer for item, answer in gold.items()}
    score = score_task(task, "en", named, truth, candidates=candidates)
    assert score.n_scored == NUM_ITEMS
    return score


def _span(text: str) -> dict[str, Any]:
    return {"answers": [{"text": text, "start": 0, "end": len(text), "score": 0.5}]}


def _random_tags(
    rng: np.random.Generator, predicted: Sequence[str], gold: Sequence[str]
) -> tuple[dict[int, Any], dict[int, Any]]:
    tags = rng.choice(predicted, NUM_ITEMS).tolist()
    truth = rng.choice(gold, NUM_ITEMS).tolist()
    return (
        {i: {"tags": [{"tag": tag, "score": 0.1}]} for i, tag in enumerate(tags)},
        {i: [tag] for i, tag in enumerate(truth)},
    )


def _random_embeddings(
    rng: np.random.Generator, *, num_candidates: int, num_relevant: int
) -> tuple[dict[int, Any], dict[int, Any], Candidates]:
    ids = tuple(f"c{i}" for i in range(num_candidates))
    candidates = Candidates(ids=ids, embeddings=rng.normal(size=(num_candidates, 8)).astype(np.float32))
    queries = rng.normal(size=(NUM_ITEMS, 8)).astype(np.float32)
    gold = {i: rng.choice(ids, num_relevant, replace=False).tolist() for i in range(NUM_ITEMS)}
    return dict(enumerate(queries)), gold, candidates
