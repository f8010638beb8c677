"""Answer texts under the rules of SQuAD v1.1 and of MLQA: what each drops, cuts and keeps."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.analysis.scoring.normaliser import MLQA_LANGUAGES, mlqa_tokens, squad_tokens, tokens_for
from loadtest.analysis.scoring.span import score_span, token_f1
from loadtest.datasets.tasks import TASKS, Metric, Task

SQUAD_CASES = [
    ("The Cat", ["cat"]),
    ("a cat, an owl and the fox!", ["cat", "owl", "and", "fox"]),
    ("another theatre", ["another", "theatre"]),  # articles are whole words
    ("U.S.", ["us"]),  # punctuation vanishes, it does not separate
    ("state-of-the-art", ["stateoftheart"]),  # so an article may be swallowed
    ("  two \t words\n", ["two", "words"]),
    ("«Norra»", ["«norra»"]),  # only ASCII punctuation
    ("ein Turm", ["ein", "turm"]),  # only English articles
    ("灯塔，三十米", ["灯塔，三十米"]),  # noqa: RUF001 - Chinese stays one token, its comma included
    ("the", []),
]

MLQA_CASES = [
    ("en", "The red-white tower!", ["redwhite", "tower"]),
    ("de", "Der Turm, dem die Möwen eines Tages folgten", ["turm", "möwen", "tages", "folgten"]),
    ("es", "¿Las torres o unos faros?", ["torres", "o", "faros"]),
    ("vi", "Những ngọn tháp là của làng", ["ngọn", "tháp", "làng"]),
    ("hi", "वह मीनार।", ["वह", "मीनार"]),
    ("ar", "البرج", ["برج"]),
    (
        "ar",
        "جمال البرج",
        ["جم", "برج"],
    ),  # the article's letters go inside a word too, as in the official script
    ("zh", "灯塔高30米（白色）", list("灯塔高") + ["30"] + list("米白色")),  # noqa: RUF001, RUF005 - Chinese brackets
    ("zh", "Norra岛 灯塔", ["norra", "岛", "灯", "塔"]),
]


@pytest.mark.parametrize(("text", "tokens"), SQUAD_CASES)
def test_squad_rules(text: str, tokens: list[str]) -> None:
    assert squad_tokens(text) == tokens


@pytest.mark.parametrize(("language", "text", "tokens"), MLQA_CASES)
def test_mlqa_rules_by_language(language: str, text: str, tokens: list[str]) -> None:
    assert mlqa_tokens(text, language) == tokens


def test_mlqa_has_rules_for_exactly_its_languages() -> None:
    assert tuple(sorted(TASKS[Task.MLQA].languages)) == MLQA_LANGUAGES


@given(st.text())
def test_squad_tokens_hold_no_ascii_punctuation_no_upper_case_and_no_article(text: str) -> None:
    tokens = squad_tokens(text)
    assert not set("".join(tokens)) & set(string.punctuation + string.ascii_uppercase + " \t\n")
    assert not set(tokens) & {"a", "an", "the"}


@pytest.mark.parametrize(
    ("predicted", "gold", "f1"),
    [
        (["a", "b", "c"], ["b", "c", "d", "e"], 4 / 7),  # precision 2/3, recall 2/4
        (["x", "x", "y"], ["x", "y", "y"], 2 / 3),  # bags: one x and one y are shared
        (["x"], ["y"], 0.0),
        ([], [], 0.0),  # as the official scripts: no shared token, no score
        (["x"], [], 0.0),
    ],
)
def test_token_f1(predicted: list[str], gold: list[str], f1: float) -> None:
    assert token_f1(predicted, gold) == pytest.approx(f1)


def test_the_best_gold_answer_counts_for_each_measure_by_itself() -> None:
    score = score_span("the old tower", ["tower", "Old Tower!", "a very old tower"], squad_tokens)
    assert score.exact_match == 1
    assert score.f1 == 1
    near = score_span("old white tower", ["tower", "old tower"], squad_tokens)
    assert near.exact_match == 0
    assert near.f1 == pytest.approx(0.8)
    assert near.mean == pytest.approx(0.4)


def test_seven_answers_give_the_figures_that_the_official_mlqa_script_gives_for_their_shapes() -> None:
    # The shapes of XTREME's own mock submission for MLQA (evaluate_test.py: EM 57.142857, F1 81.768707):
    # four right answers; 3 of 7 tokens; 3 of 4 tokens; 2 of 13 tokens after Spanish articles are gone.
    pairs = [
        *(("x", "x"),) * 4,
        ("one two three", "one two three four five six seven"),
        ("1 und 2", "1 und 2 Meter"),
        ("unas casas en", "unas casas en forma de torre que miran un campo lejos muy grande y verde"),
    ]
    languages = ["ar", "hi", "vi", "zh", "en", "de", "es"]
    scores = [
        score_span(predicted, [gold], tokens_for(Metric.MLQA, language))
        for language, (predicted, gold) in zip(languages, pairs, strict=True)
    ]
    assert 100 * sum(s.exact_match for s in scores) / 7 == pytest.approx(57.142857142857146)
    assert 100 * sum(s.f1 for s in scores) / 7 == pytest.approx(81.76870748299321)


def test_only_mlqa_uses_rules_of_the_language() -> None:
    assert tokens_for(Metric.SQUAD, "de")("Der Turm") == ["der", "turm"]
    assert tokens_for(Metric.MLQA, "de")("Der Turm") == ["turm"]
