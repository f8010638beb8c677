"""A trace built from every task: same bytes from the same seed, whole or not at all."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.datasets.examples import DataError
from loadtest.datasets.library import Library
from loadtest.datasets.tasks import TASKS, Task
from loadtest.trace.arrivals import parse_law
from loadtest.trace.build import Recipe, build_trace
from loadtest.trace.items import Role, TraceError, read_gold
from loadtest.trace.mix import Mix, Weights
from loadtest.trace.requests import Deviations
from loadtest.trace.schedule import Trace, load_trace
from loadtest.trace.selection import parse_languages, parse_tasks, select
from tests.loadtest.tiny_data import write, write_tiny_data

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.trace.items import GoldAnswer

PLAIN = Mix(tasks=Weights(text="items"), languages=Weights(text="items"))


def _ignore(task: Task, language: str) -> None:
    del task, language


def _build(
    data: Path,
    out: Path,
    *,
    tasks: str = "all",
    languages: str = "all",
    law: str = "poisson:50",
    replace: bool = False,
    **changes: Any,
) -> Trace:
    library = Library(data)
    recipe = Recipe(
        **{
            "name": "test",
            "selection": select(library, parse_tasks(tasks), parse_languages(languages)),
            "limit": None,
            "max_candidates": None,
            "law": parse_law(law),
            "law_text": law,
            "duration_s": 4.0,
            "seed": 5,
            "mix": PLAIN,
            "deviations": Deviations(),
            **changes,
        }
    )
    build_trace(library, recipe, out, progress=_ignore, replace=replace)
    return load_trace(out)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_tiny_data(tmp_path / "data")


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _gold(trace: Trace) -> dict[str, GoldAnswer]:
    return {item: answer.gold for item, answer in read_gold(trace.gold_path).items()}


def test_every_task_is_in_the_trace_with_gold_for_each_item(data: Path, tmp_path: Path) -> None:
    trace = _build(data, tmp_path / "out")
    gold = _gold(trace)
    scheduled = {item.id for item in trace.items.values() if item.role is not Role.CANDIDATE}
    assert {item.task for item in trace.items.values()} == {task.value for task in Task}
    assert set(gold) == scheduled
    assert trace.header.num_items == len(trace.items)
    assert trace.header.num_candidates == len(trace.items) - len(scheduled)


def test_gold_answers_are_those_of_the_files(data: Path, tmp_path: Path) -> None:
    gold = _gold(_build(data, tmp_path / "out"))
    assert gold["xnli/en/000001"] == "contradiction"
    assert gold["xcopa/et/000000"] == 1
    assert gold["panx/en/000001"] == ["B-PER", "I-PER"]
    assert gold["xquad/ro/000000"] == ["1901"]
    assert gold["tatoeba/sw/000001"] == ["tatoeba/sw/c000001"]
    # The entity of both mentions is described in a third language.
    assert gold["mewslix/en/000000"] == gold["mewslix/de/000000"] == ["mewslix/sw/Q1"]


def test_trap_a_question_of_lareqa_is_answered_in_every_language(data: Path, tmp_path: Path) -> None:
    gold = _gold(_build(data, tmp_path / "out"))
    assert gold["lareqa/en/000000"] == gold["lareqa/de/000000"] == ["lareqa/de/c000000", "lareqa/en/c000000"]


def test_the_same_inputs_and_seed_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    _build(data, tmp_path / "one", limit=1)
    _build(data, tmp_path / "elsewhere" / "two", limit=1)
    assert _bytes(tmp_path / "one") == _bytes(tmp_path / "elsewhere" / "two")


def test_another_seed_gives_another_schedule_and_other_items(data: Path, tmp_path: Path) -> None:
    one, two = (_build(data, tmp_path / str(seed), limit=1, seed=seed) for seed in (5, 6))
    assert one.arrivals != two.arrivals
    assert set(one.items) != set(two.items)


def test_another_law_asks_for_the_same_items(data: Path, tmp_path: Path) -> None:
    one = _build(data, tmp_path / "one", limit=1)
    two = _build(data, tmp_path / "two", limit=1, law="constant:50")
    assert one.header.items_sha256 == two.header.items_sha256
    num = min(len(one.arrivals), len(two.arrivals))
    assert [a.item for a in one.arrivals[:num]] == [a.item for a in two.arrivals[:num]]


def test_another_language_leaves_the_items_of_the_others(data: Path, tmp_path: Path) -> None:
    few = _build(data, tmp_path / "few", tasks="xnli,xquad,panx", languages="en", limit=1)
    more = _build(data, tmp_path / "more", tasks="xnli,xquad,panx", limit=1)
    assert set(few.items) < set(more.items)


def test_arrivals_go_round_all_items_and_never_ask_for_candidates(data: Path, tmp_path: Path) -> None:
    trace = _build(data, tmp_path / "out", law="constant:100", duration_s=3.0)
    counts = Counter(arrival.item for arrival in trace.arrivals)
    scheduled = {item.id for item in trace.items.values() if item.role is not Role.CANDIDATE}
    assert set(counts) == scheduled
    assert max(counts.values()) - min(counts.values()) <= 1
    assert [arrival.t_us for arrival in trace.arrivals] == [i * 10_000 for i in range(300)]


@pytest.mark.parametrize("law", ["offline", "closed:4"])
def test_a_law_without_instants_asks_for_each_item_once_at_zero(data: Path, tmp_path: Path, law: str) -> None:
    trace = _build(data, tmp_path / "out", law=law)
    asked = [arrival.item for arrival in trace.arrivals]
    scheduled = [item.id for item in trace.items.values() if item.role is not Role.CANDIDATE]
    assert sorted(asked) == sorted(scheduled)
    assert {arrival.t_us for arrival in trace.arrivals} == {0}


def test_a_mix_shifts_arrivals_between_tasks(data: Path, tmp_path: Path) -> None:
    mix = Mix(
        tasks=Weights(text="xnli=3,xquad=1", given={"xnli": 3, "xquad": 1}), languages=Weights(text="uniform")
    )
    trace = _build(data, tmp_path / "out", tasks="xnli,xquad", mix=mix, law="constant:1000")
    counts = Counter(trace.items[arrival.item].task for arrival in trace.arrivals)
    # Binomial with 4,000 draws at 3/4, five standard deviations.
    assert abs(counts["xnli"] - 3000) < 5 * (4000 * 0.75 * 0.25) ** 0.5
    assert trace.header.mix == {"tasks": "xnli=3,xquad=1", "languages": "uniform"}


def test_the_limit_holds_for_each_task_and_language_but_not_for_candidates(
    data: Path, tmp_path: Path
) -> None:
    trace = _build(data, tmp_path / "out", limit=1)
    counts = Counter(
        (item.task, item.language) for item in trace.items.values() if item.role is not Role.CANDIDATE
    )
    assert set(counts.values()) == {1}
    assert len(trace.candidates("tatoeba")) == 4


def test_a_bound_on_candidates_keeps_the_right_ones(data: Path, tmp_path: Path) -> None:
    trace = _build(data, tmp_path / "out", tasks="tatoeba,mewslix,lareqa", limit=1, max_candidates=1)
    for answers in _gold(trace).values():
        assert isinstance(answers, list)
        assert all(trace.items[answer].role is Role.CANDIDATE for answer in answers)
    assert len(trace.candidates("tatoeba")) == 2
    assert trace.header.selection["max_candidates"] == 1


def test_the_header_names_sources_with_hash_and_licence_once_each(data: Path, tmp_path: Path) -> None:
    sources = _build(data, tmp_path / "out").header.sources
    by_file = {source.file: source for source in sources}
    assert len(by_file) == len(sources)
    xnli = by_file["xnli/xnli.test.tsv"]
    assert xnli.languages == ("en", "sw")
    assert xnli.licence == TASKS[Task.XNLI].licence
    assert xnli.gold
    assert {source.task for source in sources} == {task.value for task in Task}
    assert all(len(source.sha256) == 64 for source in sources)


def test_no_path_of_this_machine_is_in_a_trace(data: Path, tmp_path: Path) -> None:
    folder = _build(data, tmp_path / "out").folder
    for content in _bytes(folder).values():
        assert str(tmp_path).encode() not in content


def test_items_without_gold_are_replayed_and_have_no_answer(tmp_path: Path) -> None:
    write(tmp_path / "data/xnli/test-en.tsv", "It rains.\tIt is wet.\n")
    trace = _build(tmp_path / "data", tmp_path / "out")
    assert _gold(trace) == {}
    assert len(trace.items) == 1
    assert [source.gold for source in trace.header.sources] == [False]


def test_queries_without_candidates_are_replayed_without_gold(data: Path, tmp_path: Path) -> None:
    (data / "mewslix/candidate_set_entities.jsonl").unlink()
    trace = _build(data, tmp_path / "out", tasks="mewslix")
    assert _gold(trace) == {}
    assert trace.header.num_candidates == 0


def test_a_deviation_changes_requests_and_is_named(data: Path, tmp_path: Path) -> None:
    plain = _build(data, tmp_path / "plain", tasks="lareqa")
    joined = _build(data, tmp_path / "joined", tasks="lareqa", deviations=Deviations(joined_candidates=True))
    assert plain.header.options == {}
    assert joined.header.options == {"joined_candidates": True}
    assert set(plain.candidates("lareqa")[0].input) == {"text", "text_pair"}
    assert set(joined.candidates("lareqa")[0].input) == {"text"}


def test_tatoeba_reversed_still_pairs_line_by_line(data: Path, tmp_path: Path) -> None:
    trace = _build(data, tmp_path / "out", tasks="tatoeba", deviations=Deviations(source_queries=True))
    assert trace.items["tatoeba/fr/000001"].input == {"text": "Il neige."}
    assert trace.items["tatoeba/fr/c000001"].input == {"text": "It snows."}
    assert _gold(trace)["tatoeba/fr/000001"] == ["tatoeba/fr/c000001"]


def test_a_damaged_file_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    path = data / "lareqa/xquad-r/en.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"en\.json:\d+: the JSON ends too early"):
        _build(data, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_interruption_leaves_nothing_behind(data: Path, tmp_path: Path) -> None:
    library = Library(data)
    calls: list[str] = []

    def interrupt(task: Task, language: str) -> None:
        calls.append(f"{task} {language}")
        if len(calls) == 5:
            raise KeyboardInterrupt

    recipe = Recipe(
        name="n",
        selection=select(library, None, None),
        limit=None,
        max_candidates=None,
        law=parse_law("offline"),
        law_text="offline",
        duration_s=1.0,
        seed=1,
        mix=PLAIN,
        deviations=Deviations(),
    )
    with pytest.raises(KeyboardInterrupt):
        build_trace(library, recipe, tmp_path / "out", progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_trace_is_replaced_only_when_asked_and_other_folders_never(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    before = _build(data, out, tasks="xnli").header
    with pytest.raises(TraceError, match="exists already"):
        _build(data, out, tasks="xquad")
    assert load_trace(out).header == before
    assert _build(data, out, tasks="xquad", replace=True).header.items_sha256 != before.items_sha256
    write(out / "notes.txt", "mine")
    with pytest.raises(TraceError, match="holds other files than a trace"):
        _build(data, out, tasks="xnli", replace=True)
    assert (out / "notes.txt").read_text() == "mine"
    with pytest.raises(TraceError, match="is a file"):
        _build(data, out / "notes.txt", tasks="xnli")


def test_an_empty_folder_may_become_a_trace(data: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert _build(data, tmp_path / "out", tasks="xnli").header.num_items == 5


def test_a_law_that_makes_no_arrival_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="makes no arrival"):
        _build(data, tmp_path / "out", law="poisson:0.001", duration_s=0.01)
    assert not (tmp_path / "out").exists()


def test_two_entities_of_one_name_are_refused(data: Path, tmp_path: Path) -> None:
    path = data / "mewslix/candidate_set_entities.jsonl"
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(TraceError, match="mewslix/en/Q2 comes twice"):
        _build(data, tmp_path / "out", tasks="mewslix")


@pytest.mark.parametrize(
    ("tasks", "languages", "words"),
    [
        ("nli", "all", "Unknown task 'nli'; .* did you mean xnli"),
        ("xnli", "xx", "Unknown language 'xx'"),
        (",", "all", "No task is named"),
        ("mlqa", "vi", "MLQA is not there in vi; 'xlmr-load data check .*' says from where"),
        ("mlqa", "sw", "MLQA has none of the asked languages; it has ar de"),
        ("xquad", "en,th", "XQuAD is not there in th; 'xlmr-load data check .*' says from where"),
        ("all", "ka", "nothing is there in ka"),
        ("all", "en,ka", "nothing is there in ka"),
    ],
)
def test_what_is_asked_for_by_name_and_absent_is_an_error(
    data: Path, tasks: str, languages: str, words: str
) -> None:
    with pytest.raises(TraceError, match=words):
        select(Library(data), parse_tasks(tasks), parse_languages(languages))


def test_all_is_what_is_there_and_the_rest_is_named(data: Path) -> None:
    (data / "xquad/xquad.ro.json").unlink()
    (data / "xquad/xquad.en.json").unlink()
    selection = select(Library(data), None, None)
    assert Task.XQUAD not in selection.cells
    assert "xquad: not there" in selection.absent
    assert "mlqa: not there in ar es hi vi zh" in selection.absent
    assert "xquad: not there in en" in select(Library(data), None, ("en",)).absent


def test_a_language_that_a_task_never_had_is_not_called_missing(data: Path) -> None:
    selection = select(Library(data), None, ("en", "sw"))
    assert selection.cells[Task.MLQA] == ("en",)
    assert not [sentence for sentence in selection.absent if sentence.startswith("mlqa")]


def test_the_real_files_make_twenty_thousand_items_of_all_tasks(xtreme_r_dir: Path, tmp_path: Path) -> None:
    trace = _build(xtreme_r_dir, tmp_path / "out", limit=120, max_candidates=2000, law="poisson:100")
    items = [item for item in trace.items.values() if item.role is not Role.CANDIDATE]
    assert len(items) > 20_000
    gold = _gold(trace)
    for answers in (gold[item.id] for item in items if item.role is Role.QUERY and item.id in gold):
        assert isinstance(answers, list)
        assert all(trace.items[answer].role is Role.CANDIDATE for answer in answers)
    header = json.loads((tmp_path / "out" / "schedule.jsonl").open().readline())
    assert len(header["sources"]) == len({source["file"] for source in header["sources"]})
