"""Labels of served heads, matched by name and never by place."""

from __future__ import annotations

import pytest

from loadtest.analysis.scoring import match_labels
from loadtest.datasets.tasks import ENTITY_LABELS, UPOS_LABELS


def test_the_same_names_in_any_order_and_case() -> None:
    match = match_labels("xnli", ["ENTAILMENT", "Neutral", "contradiction"])
    assert match.labels == {
        "ENTAILMENT": "entailment",
        "Neutral": "neutral",
        "contradiction": "contradiction",
    }
    assert match.is_complete


def test_a_given_name_goes_first() -> None:
    given = {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}
    assert match_labels("xnli", list(given), given).labels == given
    turned = match_labels("xnli", ["neutral", "entailment", "contradiction"], {"neutral": "contradiction"})
    assert turned.labels["neutral"] == "contradiction"
    assert turned.unreachable == ("neutral",)


def test_numbers_mean_nothing_by_themselves() -> None:
    match = match_labels("xnli", ["LABEL_0", "LABEL_1", "LABEL_2"])
    assert match.labels == {}
    assert match.unmatched == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert match.unreachable == ("contradiction", "entailment", "neutral")
    assert not match.is_complete


def test_a_conll_head_misses_and_adds_labels() -> None:
    served = ["B-LOC", "B-MISC", "B-ORG", "I-LOC", "I-MISC", "I-ORG", "I-PER", "O"]
    match = match_labels("panx", served)
    assert match.unmatched == ("B-MISC", "I-MISC")
    assert match.unreachable == ("B-PER",)
    given = match_labels("panx", served, {"B-MISC": "O", "I-MISC": "O"})
    assert given.unmatched == ()
    assert given.labels["I-MISC"] == "O"


@pytest.mark.parametrize(("task", "labels"), [("panx", ENTITY_LABELS), ("udpos", UPOS_LABELS)])
def test_the_benchmarks_own_labels_match(task: str, labels: tuple[str, ...]) -> None:
    assert match_labels(task, labels[::-1]).is_complete


@pytest.mark.parametrize("task", ["xcopa", "xquad", "tatoeba"])
def test_tasks_without_labels_match_anything(task: str) -> None:
    assert match_labels(task, ["LABEL_0"]).is_complete
