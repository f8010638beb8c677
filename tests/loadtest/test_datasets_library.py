"""Which files provide a task: official layouts before stripped ones, and languages from the table."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING

import pytest

from loadtest.datasets.examples import DataError, QueryExample, WordsExample
from loadtest.datasets.layouts import LAYOUTS
from loadtest.datasets.library import Library
from loadtest.datasets.tasks import TASKS, Task
from tests.loadtest.tiny_data import (
    conllu,
    mention_line,
    squad,
    write,
    write_json,
    write_jsonl,
    write_tiny_data,
)

if TYPE_CHECKING:
    from pathlib import Path

TINY = {
    "xnli": ("en", "sw"),
    "xcopa": ("et", "sw"),
    "udpos": ("en", "wo"),
    "panx": ("en", "yo"),
    "xquad": ("en", "ro"),
    "mlqa": ("de", "en"),
    "tydiqa": ("en", "sw"),
    "tatoeba": ("fr", "sw"),
    "mewslix": ("de", "en"),
    "lareqa": ("de", "en"),
}


def _names(library: Library, task: Task, language: str) -> list[str]:
    return [file.name for file in library.read(task, language).files]


def test_every_task_is_read_in_its_languages_with_gold(tmp_path: Path) -> None:
    library = Library(write_tiny_data(tmp_path))
    assert {task.value: library.languages(task) for task in Task} == TINY
    for task in Task:
        for language in library.languages(task):
            portion = library.read(task, language)
            assert portion.has_gold, f"{task} {language}"
            for file in portion.files:
                assert hashlib.sha256((tmp_path / file.name).read_bytes()).hexdigest() == file.sha256


def test_an_empty_folder_has_nothing_and_says_so(tmp_path: Path) -> None:
    library = Library(tmp_path)
    assert {library.languages(task) for task in Task} == {()}
    with pytest.raises(DataError, match="no XQuAD in 'ro'"):
        library.read(Task.XQUAD, "ro")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        Library(tmp_path / "nowhere")


def test_trap_languages_come_from_the_table_not_from_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "xnli/test-xx.tsv", "a\tb\n")
    write(tmp_path / "xnli/test-pl.tsv", "a\tb\n")
    write(tmp_path / "panx/test-wo.tsv", "a\n")
    write_jsonl(tmp_path / "xcopa/en/test-en.jsonl", [])
    library = Library(tmp_path)
    assert {library.languages(task) for task in Task} == {()}


def test_trap_conllu_before_tsv_and_never_both(tmp_path: Path) -> None:
    write(tmp_path / "udpos/test-en.tsv", "Stripped\n\nwords\n")
    write(tmp_path / "udpos/test-de.tsv", "Nur\nTSV\n")
    write(tmp_path / "ud/en_b-ud-test.conllu", conllu("Second/NOUN"))
    write(tmp_path / "ud/en_a-ud-test.conllu", conllu("First/NOUN"))
    library = Library(tmp_path)
    assert library.read(Task.UDPOS, "en").examples == [
        WordsExample(words=("First",), tags=("NOUN",)),
        WordsExample(words=("Second",), tags=("NOUN",)),
    ]
    assert not library.read(Task.UDPOS, "de").has_gold


def test_trap_languages_that_xtreme_r_added_come_from_the_newer_treebanks(tmp_path: Path) -> None:
    for release in ("2.5", "2.7"):
        for code in ("en", "wo"):
            folder = tmp_path / f"ud-treebanks-v{release}/UD_X-Y"
            write(folder / f"{code}_y-ud-test.conllu", conllu(f"v{release}/X"))
    library = Library(tmp_path)
    words = {code: library.read(Task.UDPOS, code).examples[0] for code in ("en", "wo")}
    assert words["en"] == WordsExample(words=("v2.5",), tags=("X",))
    assert words["wo"] == WordsExample(words=("v2.7",), tags=("X",))


def test_a_code_that_begins_another_file_name_is_not_taken_for_it(tmp_path: Path) -> None:
    write(tmp_path / "ud/fro_srcmf-ud-test.conllu", conllu("Old/X"))
    assert Library(tmp_path).find(Task.UDPOS, "fr") is None


def test_labels_upstream_come_before_stripped_files(tmp_path: Path) -> None:
    write_tiny_data(tmp_path)
    write(tmp_path / "xnli/test-en.tsv", "a\tb\n")
    write(tmp_path / "xnli/test-de.tsv", "a\tb\n")
    write(tmp_path / "panx/test-en.tsv", "a\n")
    library = Library(tmp_path)
    assert _names(library, Task.XNLI, "en") == ["xnli/xnli.test.tsv"]
    assert _names(library, Task.XNLI, "de") == ["xnli/test-de.tsv"]
    assert _names(library, Task.PANX, "en") == ["panx/en-test"]


def test_mlqa_is_its_test_files_and_else_its_development_files(tmp_path: Path) -> None:
    library = Library(write_tiny_data(tmp_path))
    assert _names(library, Task.MLQA, "en") == ["mlqa/MLQA_V1/test/test-context-en-question-en.json"]
    assert _names(library, Task.MLQA, "de") == ["mlqa/MLQA_V1/dev/dev-context-de-question-de.json"]


def test_tydiqa_comes_a_file_a_language_or_one_for_all(tmp_path: Path) -> None:
    write_json(
        tmp_path / "tydiqa/tydiqa-goldp-v1.1-dev.json",
        squad(("9 m.", [("telugu-1-0", "?", "9"), ("korean-1-0", "?", "9"), ("korean-2-0", "?", "m")])),
    )
    write_json(
        tmp_path / "tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.sw.dev.json", squad(("9", [("x", "?", "")]))
    )
    library = Library(tmp_path)
    assert library.languages(Task.TYDIQA) == ("ko", "sw", "te")
    assert [len(library.read(Task.TYDIQA, code).examples) for code in ("ko", "sw", "te")] == [2, 1, 1]


@pytest.mark.parametrize(
    ("names", "english", "has_gold"),
    [
        (("tatoeba.fra-eng.fra", "tatoeba.fra-eng.eng"), "A\nB\n", True),
        (("tatoeba.fra-eng.fra", "tatoeba.fra-eng.eng"), "B\nA\n", True),
        (("fr-en.fr", "fr-en.en"), "A\nB\n", False),  # utils_preprocess.py writes these, sorted
        (("tatoeba.fr-eng.fr", "tatoeba.fr-eng.eng"), "A\nB\n", False),  # evaluate_retrieval.py reads these
        (("tatoeba.fr-eng.fr", "tatoeba.fr-eng.eng"), "B\nA\n", True),
    ],
)
def test_trap_tatoeba_has_three_spellings_and_a_sorted_side_has_no_pairs(
    tmp_path: Path, names: tuple[str, str], english: str, *, has_gold: bool
) -> None:
    write(tmp_path / "tatoeba" / names[0], "X\nY\n")
    write(tmp_path / "tatoeba" / names[1], english)
    portion = Library(tmp_path).read(Task.TATOEBA, "fr")
    assert len(portion.candidates) == 2
    assert portion.has_gold is has_gold


def test_half_of_a_tatoeba_pair_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "tatoeba/tatoeba.swh-eng.swh", "X\n")
    with pytest.raises(DataError, match=r"tatoeba\.swh-eng\.eng: missing beside tatoeba\.swh-eng\.swh"):
        Library(tmp_path).find(Task.TATOEBA, "sw")


def test_mewslix_as_the_benchmark_splits_it_has_no_gold(tmp_path: Path) -> None:
    write_jsonl(
        tmp_path / "mewslix/wikinews_mentions/test-tr.jsonl", [mention_line("tr", "Oslo.", "Oslo", "")]
    )
    portion = Library(tmp_path).read(Task.MEWSLIX, "tr")
    assert portion.examples == [QueryExample(text="Oslo: { Oslo } .", keys=())]
    assert not portion.has_gold


def test_a_file_without_examples_was_cut(tmp_path: Path) -> None:
    write(tmp_path / "xnli/test-en.tsv", "")
    with pytest.raises(DataError, match=r"test-en\.tsv: holds no example"):
        Library(tmp_path).read(Task.XNLI, "en")


def test_every_format_of_every_layout_can_be_found_and_read_or_named(tmp_path: Path) -> None:
    """Each alternative of each layout is looked for where it says."""
    tiny = write_tiny_data(tmp_path / "tiny")
    for task in Task:
        language = TINY[task.value][0]
        portion = Library(tiny).read(task, language)
        found = Library(tiny).find(task, language)
        assert found is not None
        for layout in LAYOUTS[task]:
            if layout.format is not found.format:
                continue
            for number, patterns in enumerate(layout.alternatives):
                folder = tmp_path / f"{task}-{number}"
                for pattern, source in zip(patterns, found.files, strict=True):
                    name = _filled(pattern, task, language)
                    target = folder / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(source, target)
                again = Library(folder).read(task, language)
                assert again.examples == portion.examples
                assert [file.sha256 for file in again.files] == [file.sha256 for file in portion.files]


def _filled(pattern: str, task: Task, language: str) -> str:
    codes = {"fr": "fra", "sw": "swh"} if task is Task.TATOEBA else {}
    names = {"l": language, "lll": codes.get(language, ""), "name": {"en": "english"}.get(language, "")}
    return pattern.format(**names, ud="2.5").replace("*", "x")


def test_every_task_has_a_layout() -> None:
    assert set(LAYOUTS) == set(TASKS)
