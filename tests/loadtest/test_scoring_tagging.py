"""F1 of tags against seqeval itself, and what seqeval makes of tags without a prefix."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import f1_score, precision_score, recall_score

from loadtest.analysis.scoring.score import TagCounts
from loadtest.analysis.scoring.tagging import count_chunks, count_corpus_chunks, micro_f1
from loadtest.datasets.tasks import ENTITY_LABELS, UPOS_LABELS


def _counts(matched: int, predicted: int, gold: int) -> TagCounts:
    return TagCounts(num_matched=matched, num_predicted=predicted, num_gold=gold)


@pytest.mark.parametrize(
    ("predicted", "gold", "counts"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", (2, 2, 2)),
        ("B-PER O O B-LOC", "B-PER I-PER O B-LOC", (1, 2, 2)),  # half an entity is no entity
        ("B-ORG I-ORG O B-LOC", "B-PER I-PER O B-LOC", (1, 2, 2)),  # the type counts
        ("I-PER I-PER O O", "B-PER I-PER O O", (1, 1, 1)),  # a chunk may start with I
        ("B-PER B-PER O O", "B-PER I-PER O O", (0, 2, 1)),  # B starts a new one
        ("O O O O", "B-PER I-PER O B-LOC", (0, 0, 2)),
        ("O O", "O O", (0, 0, 0)),
    ],
)
def test_entities(predicted: str, gold: str, counts: tuple[int, int, int]) -> None:
    assert count_chunks(predicted.split(), gold.split()) == _counts(*counts)


@pytest.mark.parametrize(
    ("predicted", "gold", "counts"),
    [
        ("DET NOUN VERB PUNCT", "DET NOUN VERB PUNCT", (4, 4, 4)),
        ("DET ADJ VERB PUNCT", "DET NOUN VERB PUNCT", (3, 4, 4)),
        ("NOUN NOUN VERB", "NOUN NOUN VERB", (2, 2, 2)),  # a run of equal tags is one chunk
        ("NOUN ADJ VERB", "NOUN NOUN VERB", (1, 3, 2)),  # so one wrong word spoils the run
        ("SYM SYM", "SYM SYM", (2, 2, 2)),  # S means a chunk on its own
        ("SCONJ VERB", "CCONJ VERB", (2, 2, 2)),  # the same type "CONJ": no error to seqeval
        ("X PUNCT", "X PUNCT", (2, 2, 2)),  # a tag of one letter has the type "_"
    ],
)
def test_upos_as_seqeval_reads_it(predicted: str, gold: str, counts: tuple[int, int, int]) -> None:
    assert count_chunks(predicted.split(), gold.split()) == _counts(*counts)


def test_f1_by_hand() -> None:
    score = micro_f1([_counts(1, 2, 2), _counts(2, 2, 4)])
    assert score.precision == pytest.approx(3 / 4)
    assert score.recall == pytest.approx(3 / 6)
    assert score.f1 == pytest.approx(0.6)


def test_nothing_on_either_side_has_no_f1() -> None:
    assert micro_f1([]).f1 is None
    assert micro_f1([_counts(0, 0, 0)]).f1 is None
    assert micro_f1([_counts(0, 0, 3)]).f1 == 0


Corpus = list[tuple[list[str], list[str]]]


def _corpora(labels: tuple[str, ...]) -> st.SearchStrategy[Corpus]:
    tags = st.sampled_from(labels)
    pair = st.integers(1, 8).flatmap(
        lambda n: st.tuples(st.lists(tags, min_size=n, max_size=n), st.lists(tags, min_size=n, max_size=n))
    )
    return st.lists(pair, min_size=1, max_size=5)


@settings(max_examples=200, deadline=None)
@given(_corpora(ENTITY_LABELS) | _corpora(UPOS_LABELS))
def test_the_score_of_a_corpus_is_seqevals(corpus: Corpus) -> None:
    predictions, golds = [p for p, _ in corpus], [g for _, g in corpus]
    score = micro_f1([count_corpus_chunks(predictions, golds)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert (score.f1 or 0) == pytest.approx(f1_score(golds, predictions))
        assert (score.precision or 0) == pytest.approx(precision_score(golds, predictions))
        assert (score.recall or 0) == pytest.approx(recall_score(golds, predictions))


@settings(max_examples=200, deadline=None)
@given(_corpora(ENTITY_LABELS) | _corpora(tuple(tag for tag in UPOS_LABELS if tag != "X")))
def test_sentences_add_up_to_the_corpus_where_no_tag_is_x(corpus: Corpus) -> None:
    whole = count_corpus_chunks([p for p, _ in corpus], [g for _, g in corpus])
    parts = [count_chunks(predicted, gold) for predicted, gold in corpus]
    assert whole == _counts(
        sum(part.num_matched for part in parts),
        sum(part.num_predicted for part in parts),
        sum(part.num_gold for part in parts),
    )


def test_an_x_at_the_edge_of_a_sentence_reaches_into_the_one_before() -> None:
    # The second sentences are equal, but the chunk of their X starts where the last chunk before it did.
    predicted, gold = [["NOUN", "VERB"], ["X", "ADJ"]], [["NOUN", "NOUN"], ["X", "ADJ"]]
    assert count_chunks(predicted[1], gold[1]) == _counts(2, 2, 2)
    assert count_corpus_chunks(predicted, gold) == _counts(1, 4, 3)
    assert count_corpus_chunks(gold, gold) == _counts(3, 3, 3)


def test_no_warning_reaches_the_user() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        count_chunks(["NOUN"], ["VERB"])
