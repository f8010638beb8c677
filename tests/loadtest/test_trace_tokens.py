"""Token counts: closed forms with a tokenizer of whole words, published counts with XLM-R's own."""

from __future__ import annotations

import csv
import math
import statistics
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from loadtest.datasets.library import Library
from loadtest.datasets.tasks import LANGUAGES, TASKS, Task
from loadtest.datasets.tatoeba import ISO_639_3
from loadtest.trace.items import Item, Role, TraceError
from loadtest.trace.lengths import TokenCounter, lengths_of
from loadtest.trace.token_statistics import premiums, summarise
from loadtest.trace.token_survey import Surveyor
from tests.loadtest.tiny_data import write_tiny_data

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.lengths import ItemLengths
    from loadtest.trace.token_survey import Row


def _word_tokenizer(path: Path) -> Path:
    """Write a tokenizer of whole words that carries truncation and padding, as published files do."""
    vocabulary = {"<s>": 0, "</s>": 1, "<unk>": 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    tokenizer.enable_truncation(max_length=3)
    tokenizer.enable_padding(length=64)
    tokenizer.save(str(path))
    return path


@pytest.fixture
def counter(tmp_path: Path) -> TokenCounter:
    return TokenCounter(_word_tokenizer(tmp_path / "tokenizer.json"))


def _words(num: int) -> str:
    return " ".join(["word"] * num)


def _lengths(counter: TokenCounter, input_: dict[str, Any], **parameters: Any) -> ItemLengths:
    item = Item(id="i", task="t", language="en", role=Role.ITEM, input=input_, parameters=parameters)
    (lengths,) = lengths_of([item], counter)
    return lengths


def test_truncation_and_padding_of_the_file_are_turned_off(counter: TokenCounter) -> None:
    assert counter.count(_words(10)) == 10
    assert (counter.num_single_specials, counter.num_pair_specials) == (2, 4)


@pytest.mark.parametrize(
    ("input_", "sequences", "served", "over"),
    [
        ({"text": _words(10)}, (12,), 12, False),
        ({"text": _words(10), "text_pair": _words(5)}, (19,), 19, False),
        ({"text": _words(30)}, (32,), 20, True),
        (
            {"context": _words(5), "question": _words(3), "choices": [_words(1), _words(4)]},
            (13, 16),
            29,
            False,
        ),
        ({"context": _words(5), "choices": [_words(1), _words(40)]}, (10, 49), 10 + 20, True),
        ({"tokens": ["a", "two words", " "]}, (2 + 1 + 2 + 1,), 6, False),  # nothing left of a word is <unk>
        ({"tokens": ["a"] * 30}, (32,), 32, True),  # spread over windows, not cut
    ],
)
def test_lengths_of_an_input_at_a_cap_of_twenty(
    counter: TokenCounter, input_: dict[str, Any], sequences: tuple[int, ...], served: int, *, over: bool
) -> None:
    found = _lengths(counter, input_, max_tokens=20)
    assert (found.sequences, found.served, found.is_over_cap) == (sequences, served, over)
    assert found.num_windows == 1


def _windows_by_cutting(question: int, context: int, cap: int, stride: int) -> tuple[int, int]:
    """Cut a context piece by piece: the count of windows and of tokens in them."""
    room = cap - 4 - min(question, 64)
    start, num, tokens = 0, 0, 0
    while True:
        end = min(start + room, context)
        num, tokens = num + 1, tokens + min(question, 64) + 4 + (end - start)
        if end == context:
            return num, tokens
        start = end - stride


@pytest.mark.parametrize("question", [1, 10, 64, 90])
@pytest.mark.parametrize("context", [1, 50, 315, 316, 317, 380, 500, 504, 505, 900, 2000])
def test_windows_are_those_of_cutting_by_hand(counter: TokenCounter, question: int, context: int) -> None:
    input_ = {"question": _words(question), "context": _words(context)}
    found = _lengths(counter, input_, max_tokens=384, stride=128)
    assert found.sequences == (question + context + 4,)
    assert (found.num_windows, found.served) == _windows_by_cutting(question, context, 384, 128)
    assert found.is_over_cap == (question + context + 4 > 384)


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(TraceError, match=r"tokenizer\.json: no tokenizer\.json that can be read"):
        TokenCounter(path)


def test_statistics_by_hand(counter: TokenCounter) -> None:
    items = [
        Item(
            id=str(n),
            task="t",
            language="en",
            role=Role.ITEM,
            input={"text": _words(n)},
            parameters={"max_tokens": 50},
        )
        for n in range(1, 101)
    ]
    found = summarise(lengths_of(items, counter), cap=50, has_windows=False)
    lengths = [n + 2 for n in range(1, 101)]
    assert found.num_items == 100
    assert found.sequence.mean == pytest.approx(statistics.fmean(min(n, 50) for n in lengths))
    assert (found.sequence.p50, found.sequence.p90, found.sequence.p99) == (50, 50, 50)
    assert found.uncapped_mean == pytest.approx(52.5)
    assert found.longest == 102
    assert found.over_cap_ratio == pytest.approx(0.52)
    assert found.windows_mean is None


def test_percentiles_are_values_that_occur(counter: TokenCounter) -> None:
    items = [
        Item(id=str(n), task="t", language="en", role=Role.ITEM, input={"text": _words(n)}, parameters={})
        for n in range(1, 101)
    ]
    found = summarise(lengths_of(items, counter), cap=None, has_windows=True)
    # Nearest rank: the 50th, 90th and 99th of a hundred.
    assert (found.request.p50, found.request.p90, found.request.p99) == (52, 92, 101)
    assert found.windows_mean == 1


def test_without_english_there_is_no_premium() -> None:
    assert premiums({"de": 10.0}) == {}
    assert premiums({"en": 10.0, "de": 12.0}) == {"en": 1.0, "de": 1.2}


def test_a_survey_has_a_row_for_every_task_language_and_role(tmp_path: Path, counter: TokenCounter) -> None:
    rows = _survey(Library(write_tiny_data(tmp_path / "data")), counter)
    roles = {(row.task.value, row.role.value): 0 for row in rows}
    assert set(roles) == {
        *((task.value, "query" if spec.retrieves else "item") for task, spec in TASKS.items()),
        *((task.value, "candidate") for task, spec in TASKS.items() if spec.retrieves),
    }
    xquad = {row.language: row for row in rows if row.task is Task.XQUAD}
    # "When did it open?" and nine words of context against "Când s-a deschis?" and eight.
    assert xquad["en"].statistics.uncapped_mean == 4 + 9 + 4
    assert xquad["ro"].statistics.uncapped_mean == 3 + 8 + 4
    assert xquad["ro"].premium == pytest.approx(15 / 17)
    (entity,) = [row for row in rows if row.task is Task.MEWSLIX and row.language == "sw"]
    assert (entity.role, entity.statistics.uncapped_mean) == (Role.CANDIDATE, 5)


def _survey(
    library: Library,
    counter: TokenCounter,
    *,
    tasks: tuple[Task, ...] = tuple(Task),
    languages: tuple[str, ...] = LANGUAGES,
) -> list[Row]:
    def ignore(task: Task, language: str) -> None:
        del task, language

    cells = {task: [code for code in library.languages(task) if code in languages] for task in tasks}
    surveyor = Surveyor(library=library, counter=counter, limit=None, seed=1)
    return surveyor.rows({task: codes for task, codes in cells.items() if codes}, progress=ignore)


# --- XLM-R's own tokenizer on the public files -------------------------------------------------

# All 1,190 records: uncapped mean and share over 384, counted by another program.
XQUAD = {
    "en": (205, 0.036),
    "zh": (192, 0.034),
    "tr": (212, 0.039),
    "de": (234, 0.051),
    "es": (233, 0.058),
    "vi": (235, 0.060),
    "th": (233, 0.065),
    "ru": (239, 0.071),
    "ro": (248, 0.072),
    "ar": (235, 0.072),
    "hi": (250, 0.110),
    "el": (287, 0.155),
}
# All records: uncapped mean and share over 256.
LAREQA_CANDIDATES = {
    "zh": (235, 0.30),
    "en": (255, 0.35),
    "tr": (263, 0.39),
    "de": (289, 0.49),
    "ar": (289, 0.49),
    "vi": (290, 0.49),
    "es": (286, 0.49),
    "ru": (293, 0.51),
    "hi": (307, 0.56),
    "th": (306, 0.57),
    "el": (353, 0.75),
}


@pytest.fixture(scope="module")
def xlmr(real_tokenizer_file: Path) -> TokenCounter:
    return TokenCounter(real_tokenizer_file)


def test_counts_are_those_of_fairseqs_examples(xlmr: TokenCounter) -> None:
    """Golden encodings of the fairseq README, special tokens apart."""
    texts = {
        "Hello world!": 3,
        "你好\N{FULLWIDTH COMMA}世界": 4,
        "नमस्ते दुनिया": 3,
        "مرحبا بالعالم": 5,
        "Bonjour le monde": 3,
    }
    assert {text: xlmr.count(text) for text in texts} == texts


def test_all_of_xquad_and_lareqa_agrees_with_counts_made_apart(
    xtreme_r_dir: Path, xlmr: TokenCounter
) -> None:
    tasks, languages = (Task.XQUAD, Task.LAREQA), ("ar", "el", "en", "th", "zh")  # the extremes, and scripts
    rows = _survey(Library(xtreme_r_dir), xlmr, tasks=tasks, languages=languages)
    for row in rows:
        table = {(Task.XQUAD, Role.ITEM): XQUAD, (Task.LAREQA, Role.CANDIDATE): LAREQA_CANDIDATES}.get(
            (row.task, row.role)
        )
        if table is not None:
            mean, share = table[row.language]
            assert abs(row.statistics.uncapped_mean - mean) < 1, f"{row.task} {row.language}"
            assert row.statistics.over_cap_ratio == pytest.approx(share, abs=0.006)
    greek, english = (
        next(row for row in rows if row.task is Task.XQUAD and row.language == code) for code in ("el", "en")
    )
    assert greek.statistics.over_cap_ratio / english.statistics.over_cap_ratio == pytest.approx(4.3, abs=0.05)


NAMES = {
    "XNLI": Task.XNLI,
    "XCOPA": Task.XCOPA,
    "UDPOS": Task.UDPOS,
    "WikiANN-NER": Task.PANX,
    "XQuAD": Task.XQUAD,
    "MLQA": Task.MLQA,
    "TyDiQA-GoldP": Task.TYDIQA,
    "LAReQA question": Task.LAREQA,
    "LAReQA candidate": Task.LAREQA,
    "Tatoeba": Task.TATOEBA,
}


def test_samples_agree_with_the_published_statistics_within_their_error(
    xtreme_r_dir: Path, xlmr: TokenCounter, tmp_path: Path
) -> None:
    """Both sides sampled records; the difference of two such means has a known spread."""
    folder = tmp_path / "data"
    folder.mkdir()
    for path in xtreme_r_dir.iterdir():
        if path.name != "ud":  # the statistics were made of XTREME's TSV, with every treebank
            (folder / path.name).symlink_to(path)
    library = Library(folder)
    published = _published(xtreme_r_dir / "token_stats.tsv")
    z_values = []
    for (name, language), (mean, num_sampled) in published.items():
        task = NAMES[name]
        if library.find(task, language) is None:
            continue
        is_candidate = name in ("Tatoeba", "LAReQA candidate")
        lengths = _capped_lengths(library, task, language, xlmr, candidates=is_candidate)
        if len(set(lengths)) > 1:
            error = np.std(lengths, ddof=1) * math.sqrt(1 / len(lengths) + 1 / num_sampled)
            z_values.append((np.mean(lengths) - mean) / error)
    assert len(z_values) > 170
    # Of independent standard normal values: none beyond 4.5 (p = 0.001 for 200), and no shift of their mean.
    assert max(map(abs, z_values)) < 4.5
    assert abs(np.mean(z_values)) < 4 / math.sqrt(len(z_values))


def _published(path: Path) -> dict[tuple[str, str], tuple[float, int]]:
    codes = {three: two for two, three in ISO_639_3.items()}
    with path.open(encoding="utf-8") as file:
        return {
            (row["task"], codes.get(row["lang"], row["lang"])): (float(row["mean"]), int(row["sampled"]))
            for row in csv.DictReader(file, delimiter="\t")
            if codes.get(row["lang"], row["lang"]) in TASKS[NAMES[row["task"]]].languages
        }


def _capped_lengths(
    library: Library, task: Task, language: str, counter: TokenCounter, *, candidates: bool
) -> list[int]:
    surveyor = Surveyor(library=library, counter=counter, limit=100, seed=3)
    wanted = Role.CANDIDATE if candidates else None
    for role, items in surveyor._items_of(task, language):
        if (role is Role.CANDIDATE) == (wanted is Role.CANDIDATE):
            cap = items[0].parameters["max_tokens"]
            found = lengths_of(items, counter)
            return [min(length, cap) for lengths in found for length in lengths.sequences]
    raise AssertionError(f"{task} {language} has no such side")


def test_the_premium_over_english_is_that_of_petrov_et_al_on_their_own_counts(xtreme_r_dir: Path) -> None:
    with (xtreme_r_dir / "tokenizer" / "xlmr_tokens_flores50.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = premiums({row["iso"]: float(row["xlmr_tokens_2009_sents"]) for row in rows})
    assert len(found) == 50
    for row in rows:
        assert found[row["iso"]] == pytest.approx(float(row["premium_vs_en"]), abs=1e-4)
    assert found["yo"] / found["id"] == pytest.approx(2.42, abs=0.005)
