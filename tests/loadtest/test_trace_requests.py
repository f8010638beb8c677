"""Requests as XTREME-R forms them, one table row a task, and each departure from them."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.datasets.examples import (
    CandidateExample,
    ChoiceExample,
    Example,
    PairExample,
    QueryExample,
    QuestionExample,
    WordsExample,
)
from loadtest.datasets.library import Portion
from loadtest.datasets.tasks import Task
from loadtest.trace.items import Gold, Role, TraceError
from loadtest.trace.requests import (
    Deviations,
    candidate_of,
    gold_of,
    item_of,
    parse_deviations,
    sides_of,
)

PAIR = PairExample(premise="It rains.", hypothesis="It is wet.", label="entailment")
CAUSE = ChoiceExample(
    premise="The cup fell.", question="cause", choices=("A cat came.", "It rained."), label=0
)
WORDS = WordsExample(words=("Ada", "sails"), tags=("PROPN", "VERB"))
QUESTION = QuestionExample(question="When?", context="In 1901.", answers=("1901", "In 1901"))
QUERY = QueryExample(text="It snows.", keys=("0",))
BENCHMARK = Deviations()
TAGGING = {"tokens": ["Ada", "sails"]}
ANSWERING = {"question": "When?", "context": "In 1901."}
WINDOWS = {"max_tokens": 384, "stride": 128, "max_answer_tokens": 30}
POOLER = {"pooling": "pooler", "normalize": True}


@pytest.mark.parametrize(
    ("task", "example", "role", "input_", "parameters"),
    [
        (Task.XNLI, PAIR, "item", {"text": "It rains.", "text_pair": "It is wet."}, {"max_tokens": 128}),
        (
            Task.XCOPA,
            CAUSE,
            "item",
            {
                "context": "The cup fell.",
                "question": "What was the cause?",
                "choices": ["A cat came.", "It rained."],
            },
            {"max_tokens": 128},
        ),
        (Task.UDPOS, WORDS, "item", TAGGING, {"max_tokens": 128}),
        (Task.PANX, WORDS, "item", TAGGING, {"max_tokens": 128}),
        (Task.XQUAD, QUESTION, "item", ANSWERING, WINDOWS),
        (Task.MLQA, QUESTION, "item", ANSWERING, WINDOWS),
        (Task.TYDIQA, QUESTION, "item", ANSWERING, WINDOWS),
        (
            Task.TATOEBA,
            QUERY,
            "query",
            {"text": "It snows."},
            {"max_tokens": 512, "pooling": "mean", "layer": 14, "normalize": True},
        ),
        (Task.MEWSLIX, QUERY, "query", {"text": "It snows."}, {"max_tokens": 64, **POOLER}),
        (Task.LAREQA, QUERY, "query", {"text": "It snows."}, {"max_tokens": 96, **POOLER}),
    ],
)
def test_an_item_is_this_request(
    task: Task, example: Example, role: str, input_: dict[str, Any], parameters: dict[str, Any]
) -> None:
    item = item_of(example, task, "en", 7, BENCHMARK)
    assert item.id == f"{task}/en/000007"
    assert (item.task, item.language, item.role.value) == (task.value, "en", role)
    assert item.input == input_
    assert item.parameters == parameters


def test_xcopa_reads_as_in_the_benchmark_once_the_service_has_joined_it() -> None:
    effect = ChoiceExample(premise="It rained.", question="effect", choices=("a", "b"), label=1)
    input_ = item_of(effect, Task.XCOPA, "et", 0, BENCHMARK).input
    assert f"{input_['context']} {input_['question']}" == "It rained. What was the effect?"


def _candidate(text: str, context: str | None = None) -> CandidateExample:
    return CandidateExample(name="c000003", text=text, context=context, keys=("0",))


def test_a_candidate_of_tatoeba_is_a_text_with_the_same_parameters_as_a_query() -> None:
    item = candidate_of(_candidate("Il neige."), Task.TATOEBA, "fr", BENCHMARK)
    assert item.id == "tatoeba/fr/c000003"
    assert item.role is Role.CANDIDATE
    assert item.input == {"text": "Il neige."}
    assert item.parameters == item_of(QUERY, Task.TATOEBA, "fr", 0, BENCHMARK).parameters


def test_a_candidate_of_lareqa_is_a_pair_without_newlines_at_its_own_cap() -> None:
    item = candidate_of(_candidate("One\ntwo.", "One\ntwo.\nThree."), Task.LAREQA, "en", BENCHMARK)
    assert item.input == {"text": "Onetwo.", "text_pair": "Onetwo.Three."}
    assert item.parameters == {"max_tokens": 256, **POOLER}


def test_every_departure_is_off_by_default_and_named_when_on() -> None:
    assert BENCHMARK.asked_for() == {}
    assert parse_deviations("") == BENCHMARK
    on = parse_deviations("lower-case, uncapped")
    assert on == Deviations(lower_case=True, uncapped=True)
    assert on.asked_for() == {"lower_case": True, "uncapped": True}
    with pytest.raises(TraceError, match="Unknown deviation 'shouting'; known are lower_case"):
        parse_deviations("shouting")


def test_lower_case_is_for_the_two_tasks_whose_scripts_ask_for_it() -> None:
    lower = Deviations(lower_case=True)
    shout = QueryExample(text="ISTANBUL", keys=())
    texts = {task: item_of(shout, task, "tr", 0, lower).input["text"] for task in (Task.MEWSLIX, Task.LAREQA)}
    assert set(texts.values()) == {"istanbul"}
    assert item_of(shout, Task.TATOEBA, "tr", 0, lower).input == {"text": "ISTANBUL"}
    assert candidate_of(_candidate("A", "B"), Task.LAREQA, "tr", lower).input == {
        "text": "a",
        "text_pair": "b",
    }


def test_joined_candidates_are_one_text() -> None:
    joined = Deviations(joined_candidates=True)
    item = candidate_of(_candidate("One\n", "One\ntwo."), Task.LAREQA, "en", joined)
    assert item.input == {"text": "OneOnetwo."}


def test_newlines_can_be_kept() -> None:
    kept = candidate_of(_candidate("a\nb", "a\nb\nc"), Task.LAREQA, "en", Deviations(keep_newlines=True))
    assert kept.input == {"text": "a\nb", "text_pair": "a\nb\nc"}


def test_uncapped_requests_leave_the_cap_to_the_variant() -> None:
    uncapped = Deviations(uncapped=True)
    assert item_of(PAIR, Task.XNLI, "en", 0, uncapped).parameters == {}
    assert item_of(QUESTION, Task.XQUAD, "en", 0, uncapped).parameters == {
        "stride": 128,
        "max_answer_tokens": 30,
    }


def _tatoeba(keys: tuple[str, ...]) -> Portion:
    return Portion(
        task=Task.TATOEBA,
        language="fr",
        examples=[QueryExample(text="It snows.", keys=keys)],
        candidates=[CandidateExample(name="c000000", text="Il neige.", context=None, keys=("0",))],
        files=(),
    )


def test_tatoeba_can_ask_in_the_language_and_search_english() -> None:
    queries, candidates = sides_of(_tatoeba(("0",)), Deviations(source_queries=True))
    assert list(queries) == [QueryExample(text="Il neige.", keys=("0",))]
    assert [candidate.text for candidate in candidates] == ["It snows."]
    unpaired, _ = sides_of(_tatoeba(()), Deviations(source_queries=True))
    assert list(unpaired) == [QueryExample(text="Il neige.", keys=())]


def test_sides_are_otherwise_as_in_the_benchmark() -> None:
    queries, candidates = sides_of(_tatoeba(("0",)), BENCHMARK)
    assert list(queries) == [QueryExample(text="It snows.", keys=("0",))]
    assert [candidate.text for candidate in candidates] == ["Il neige."]


@pytest.mark.parametrize(
    ("example", "gold"),
    [
        (PAIR, "entailment"),
        (CAUSE, 0),
        (WORDS, ["PROPN", "VERB"]),
        (QUESTION, ["1901", "In 1901"]),
        (QUERY, ["x/c1"]),
        (PairExample(premise="a", hypothesis="b", label=None), None),
        (ChoiceExample(premise="a", question="cause", choices=("b", "c"), label=None), None),
        (WordsExample(words=("a",), tags=None), None),
        (QuestionExample(question="a", context="b", answers=()), None),
    ],
)
def test_gold_is_in_the_form_of_its_task_and_absent_where_stripped(example: Example, gold: Any) -> None:
    expected = None if gold is None else Gold(id="i", gold=gold)
    assert gold_of(example, "i", ["x/c1"]) == expected


def test_a_query_that_finds_no_candidate_has_no_gold() -> None:
    assert gold_of(QUERY, "i", []) is None
