"""Span: windows as the tokenizer library cuts them, answers as characters of the context."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.errors import EmptyTextError, EngineError, InputError, InvalidTextError, TooLongError
from service.tasks.parameters import Parameters
from service.tasks.span import SPAN, SpanInput, SpanLayout
from service.tasks.task import Encoded, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import tokenizers

    from models.tokenizer import Tokenizer as RealTokenizer
    from service.tasks.tokenizer import Tokenizer
    from tests.service.fake_tokenizer import FakeTokenizer

Rows = np.ndarray[tuple[int, int], np.dtype[np.float32]]
PARAMETERS = Parameters(max_tokens=40, stride=4)
LOW = -30.0


def flat(encoded: Encoded[SpanLayout], value: float = LOW) -> list[Rows]:
    return [np.full((len(sequence), 2), value, dtype=np.float32) for sequence in encoded.sequences]


def mark(
    encoded: Encoded[SpanLayout], logits: list[Rows], first: int, last: int, height: float = 0.0
) -> None:
    """Raise the start and end of the context's pieces ``first`` to ``last`` in each window with both."""
    row = encoded.layout.context_row
    for (start, end), rows in zip(encoded.layout.windows, logits, strict=True):
        if start <= first and last < end:
            rows[row + first - start, 0] = height
            rows[row + last - start, 1] = height


def test_one_window_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    found = SPAN.encode(SpanInput(question="who", context="abcd e"), PARAMETERS, fake_tokenizer)
    (sequence,) = found.sequences
    pieces = ["<0>", "▁who", "<2>", "<2>", "▁abc", "d", "▁e", "<2>"]
    assert fake_tokenizer.text_of(sequence) == pieces
    assert found.layout.context_row == 4
    assert found.usage == Usage(tokens=8, windows=1, truncated=False)


def test_windows_share_the_stride(fake_tokenizer: FakeTokenizer) -> None:
    words = [f"w{index}" for index in range(20)]
    item = SpanInput(question="q r", context=" ".join(words))
    found = SPAN.encode(item, Parameters(max_tokens=16, stride=3), fake_tokenizer)
    # 16 - 4 special - 2 of the question: ten words a window, seven further on each time.
    assert found.layout.windows == ((0, 10), (7, 17), (14, 20))
    assert [len(sequence) for sequence in found.sequences] == [16, 16, 12]
    assert found.usage == Usage(tokens=44, windows=3, truncated=False)
    assert fake_tokenizer.text_of(found.sequences[1])[5:-1] == [f"▁{word}" for word in words[7:17]]


@pytest.mark.parametrize(
    ("num_words", "kept", "truncated"), [(64, 64, False), (65, 64, True), (300, 64, True)]
)
def test_a_question_is_cut_at_64_tokens_and_said_to_be(
    fake_tokenizer: FakeTokenizer, num_words: int, kept: int, *, truncated: bool
) -> None:
    item = SpanInput(question="q " * num_words, context="abc")
    found = SPAN.encode(item, Parameters(max_tokens=384), fake_tokenizer)
    assert found.layout.context_row == kept + 3
    assert found.usage == Usage(tokens=kept + 5, windows=1, truncated=truncated)


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (SpanInput(question="", context="a"), EmptyTextError, "`question` is empty"),
        (SpanInput(question="q", context="\n"), EmptyTextError, "`context` is empty"),
        (SpanInput(question="\u200b", context="a"), EmptyTextError, "`question` holds only"),
        (SpanInput(question="q", context="\u200b"), EmptyTextError, "`context` holds only"),
        (SpanInput(question="q", context="a\ud800"), InvalidTextError, "`context` holds half"),
        (
            SpanInput(question="q " * 65, context="a"),
            TooLongError,
            "question takes 65 tokens and may take 18",
        ),
    ],
)
def test_an_input_that_fails_says_why(
    fake_tokenizer: FakeTokenizer, item: SpanInput, error: type[InputError], message: str
) -> None:
    with pytest.raises(error, match=message):
        SPAN.encode(item, Parameters(max_tokens=40, stride=4, truncate=False), fake_tokenizer)


def test_a_long_context_is_no_reason_to_refuse(fake_tokenizer: FakeTokenizer) -> None:
    item = SpanInput(question="q", context="word " * 500)
    found = SPAN.encode(item, Parameters(max_tokens=40, stride=4, truncate=False), fake_tokenizer)
    assert not found.usage.truncated
    assert found.layout.windows[-1][1] == 1000


def test_the_answer_is_cut_from_the_context(fake_tokenizer: FakeTokenizer) -> None:
    found = SPAN.encode(SpanInput(question="who", context="the abcd efg."), PARAMETERS, fake_tokenizer)
    logits = flat(found)
    mark(found, logits, 1, 3)  # ▁abc, d, ▁efg
    answer = SPAN.decode(found, logits, (), PARAMETERS)
    (best,) = answer.answers
    assert (best.text, best.start, best.end) == ("abcd efg", 4, 12)
    assert best.score == pytest.approx(1.0)


def test_scores_by_hand(fake_tokenizer: FakeTokenizer) -> None:
    # Two words, three spans: "a" 1 + 0, "a b" 1 + 2, "b" 0 + 2.
    parameters = Parameters(max_tokens=40, stride=4, top_k=10)
    found = SPAN.encode(SpanInput(question="q", context="a b"), parameters, fake_tokenizer)
    logits = flat(found, 50.0)  # what is not context may say what it likes
    logits[0][4:6] = [[1.0, 0.0], [0.0, 2.0]]
    answer = SPAN.decode(found, logits, (), parameters)
    total = math.exp(1) + math.exp(3) + math.exp(2)
    assert [span.text for span in answer.answers] == ["a b", "b", "a"]
    expected = [math.exp(3) / total, math.exp(2) / total, math.exp(1) / total]
    assert [span.score for span in answer.answers] == pytest.approx(expected)


def test_the_question_is_never_part_of_an_answer(fake_tokenizer: FakeTokenizer) -> None:
    found = SPAN.encode(SpanInput(question="abc def", context="ghi jkl"), PARAMETERS, fake_tokenizer)
    logits = flat(found)
    logits[0][1:3] = 9.0  # the question
    logits[0][0] = 20.0  # <s>: no answer, in SQuAD 2
    answer = SPAN.decode(found, logits, (), PARAMETERS)
    assert answer.answers[0].text in {"ghi", "ghi jkl", "jkl"}


def test_the_best_window_wins(fake_tokenizer: FakeTokenizer) -> None:
    words = [f"w{index}" for index in range(20)]
    parameters = Parameters(max_tokens=16, stride=3, top_k=2)
    found = SPAN.encode(SpanInput(question="q r", context=" ".join(words)), parameters, fake_tokenizer)
    logits = flat(found)
    mark(found, logits, 2, 2, height=1.0)
    mark(found, logits, 18, 19, height=2.0)
    answer = SPAN.decode(found, logits, (), parameters)
    assert [span.text for span in answer.answers] == ["w18 w19", "w2"]
    total = math.exp(4) + math.exp(2)
    assert [span.score for span in answer.answers] == pytest.approx(
        [math.exp(4) / total, math.exp(2) / total], rel=1e-6
    )


def test_an_answer_has_at_most_so_many_tokens(fake_tokenizer: FakeTokenizer) -> None:
    found = SPAN.encode(SpanInput(question="q", context="a b c d"), PARAMETERS, fake_tokenizer)
    logits = flat(found)
    mark(found, logits, 0, 3)
    for limit, text in ((4, "a b c d"), (3, "a b c")):
        parameters = Parameters(max_tokens=40, stride=4, max_answer_tokens=limit)
        logits[0][found.layout.context_row + 2, 1] = -1.0
        assert SPAN.decode(found, logits, (), parameters).answers[0].text == text


def test_answers_of_the_same_characters_are_one(real_tokenizer: RealTokenizer) -> None:
    # XLM-R reads 你 as a lone "▁" and 你, both of which cover its first character.
    parameters = Parameters(max_tokens=40, stride=4, top_k=50)
    found = SPAN.encode(SpanInput(question="q", context="你 好"), parameters, real_tokenizer)
    answer = SPAN.decode(found, flat(found, 0.0), (), parameters)
    assert sorted(span.text for span in answer.answers) == ["你", "你 好", "好"]


def test_top_k_answers_are_found_behind_many_equal_ones(real_tokenizer: RealTokenizer) -> None:
    # ﷺ is eighteen characters once normalised; each of their pieces covers the same one.
    parameters = Parameters(max_tokens=80, stride=4, top_k=2)
    found = SPAN.encode(SpanInput(question="q", context="ﷺ word"), parameters, real_tokenizer)
    logits = flat(found)
    num_pieces = found.layout.windows[0][1]
    row = found.layout.context_row
    logits[0][row : row + num_pieces - 1] = 0.0
    answer = SPAN.decode(found, logits, (), parameters)
    assert [span.text for span in answer.answers] == ["ﷺ", "ﷺ word"]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_no_numbers_are_the_engines_failure(
    fake_tokenizer: FakeTokenizer, bad: float
) -> None:
    found = SPAN.encode(SpanInput(question="q", context="a b"), PARAMETERS, fake_tokenizer)
    with pytest.raises(EngineError, match="not a number"):
        SPAN.decode(found, flat(found, bad), (), PARAMETERS)


contexts = st.text(st.sampled_from("ab é.,你好世ไทยง่ายकि\u0301\u200b👩😀½ \n\u3000"), min_size=1, max_size=60)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    context=contexts,
    top_k=st.integers(1, 20),
    max_tokens=st.integers(9, 30),
    max_answer_tokens=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_answers_of_any_text_are_distinct_passages_of_it(  # each argument is drawn
    any_tokenizer: Tokenizer, context: str, top_k: int, max_tokens: int, max_answer_tokens: int, seed: int
) -> None:
    parameters = Parameters(max_tokens=max_tokens, stride=1, top_k=top_k, max_answer_tokens=max_answer_tokens)
    try:
        found = SPAN.encode(SpanInput(question="what?", context=context), parameters, any_tokenizer)
    except EmptyTextError:
        return
    rng = np.random.default_rng(seed)
    logits = [rng.normal(size=(len(sequence), 2)).astype(np.float32) for sequence in found.sequences]
    answers = SPAN.decode(found, logits, (), parameters).answers
    assert 1 <= len(answers) <= top_k
    assert len({(span.start, span.end) for span in answers}) == len(answers)
    assert [span.score for span in answers] == sorted((span.score for span in answers), reverse=True)
    assert sum(span.score for span in answers) <= 1.0 + 1e-9
    for span in answers:
        assert context[span.start : span.end] == span.text
        assert span.text.strip() == span.text != ""
    if len(answers) < top_k:  # then there are no more: each distinct passage of every span is there
        assert len(answers) == len(
            SPAN.decode(
                found,
                logits,
                (),
                Parameters(max_tokens=max_tokens, stride=1, top_k=1000, max_answer_tokens=max_answer_tokens),
            ).answers
        )


def xquad(xtreme_r_dir: Path, language: str, step: int) -> Iterator[tuple[str, str, str, int]]:
    """Yield question, context, answer and its place, of every ``step``-th paragraph."""
    data = json.loads((xtreme_r_dir / "xquad" / f"xquad.{language}.json").read_text(encoding="utf-8"))
    paragraphs = [paragraph for article in data["data"] for paragraph in article["paragraphs"]]
    for paragraph in paragraphs[::step]:
        asked = paragraph["qas"][0]
        answer = asked["answers"][0]
        yield asked["question"], paragraph["context"], answer["text"], answer["answer_start"]


@pytest.mark.parametrize("language", ["en", "zh", "ar", "hi", "el", "vi"])
@pytest.mark.parametrize(("max_tokens", "stride"), [(384, 128), (120, 20), (100, 0)])
def test_real_windows_are_the_librarys(  # each argument is a case
    real_tokenizer: RealTokenizer,
    library: tokenizers.Tokenizer,
    xtreme_r_dir: Path,
    language: str,
    max_tokens: int,
    stride: int,
) -> None:
    parameters = Parameters(max_tokens=max_tokens, stride=stride)
    for question, context, _, _ in xquad(xtreme_r_dir, language, 12):
        library.enable_truncation(max_tokens, stride=stride, strategy="only_second")
        first = library.encode(question, context)
        library.no_truncation()
        windows = [first, *first.overflowing]
        found = SPAN.encode(SpanInput(question=question, context=context), parameters, real_tokenizer)
        assert [sequence.tolist() for sequence in found.sequences] == [window.ids for window in windows]
        for (start, end), window in zip(found.layout.windows, windows, strict=True):
            theirs = [
                place for place, part in zip(window.offsets, window.sequence_ids, strict=True) if part == 1
            ]
            assert found.layout.starts[start:end].tolist() == [first for first, _ in theirs]
            covered = {place for first, last in theirs for place in range(first, last)}
            for ours, (_, last) in zip(found.layout.ends[start:end].tolist(), theirs, strict=True):
                # The library covers no character that normalisation drew into the one before it.
                assert ours >= last
                assert covered.isdisjoint(range(last, ours))


@pytest.mark.parametrize("language", ["en", "zh", "ar", "hi", "el", "ro", "tr", "vi", "ru"])
def test_real_answers_come_back_at_their_place(
    real_tokenizer: RealTokenizer, xtreme_r_dir: Path, language: str
) -> None:
    parameters = Parameters(max_tokens=160, stride=60, max_answer_tokens=60)
    exact = total = 0
    for question, context, text, place in xquad(xtreme_r_dir, language, 12):
        found = SPAN.encode(SpanInput(question=question, context=context), parameters, real_tokenizer)
        layout = found.layout
        holding = np.flatnonzero((layout.ends > place) & (layout.starts < place + len(text)))
        logits = flat(found)
        mark(found, logits, int(holding[0]), int(holding[-1]))
        (best,) = SPAN.decode(found, logits, (), parameters).answers
        assert context[best.start : best.end] == best.text
        assert best.start <= place
        assert place + len(text) <= best.end
        assert text in best.text
        total += 1
        exact += best.text == text
    assert total == 20
    assert exact >= total - 3  # a few answers end inside a piece
