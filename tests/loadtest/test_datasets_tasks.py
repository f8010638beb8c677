"""The table of tasks against the benchmark's paper and scripts, counted apart from the table."""

from __future__ import annotations

from loadtest.datasets.squad import LANGUAGE_NAMES
from loadtest.datasets.tasks import LANGUAGES, TASKS, Head, Metric, Task
from loadtest.datasets.tatoeba import ISO_639_3

# Of the paper (section 3) and of evaluate.py, XTREME_R_TASK2LANGS.
NUM_LANGUAGES = {
    "xnli": 15,
    "xcopa": 11,
    "udpos": 38,
    "panx": 48,
    "xquad": 12,
    "mlqa": 7,
    "tydiqa": 9,
    "tatoeba": 41,
    "mewslix": 11,
    "lareqa": 11,
}
# As evaluate.py writes them.
UDPOS = "af,ar,bg,de,el,en,es,et,eu,fa,fi,fr,he,hi,hu,id,it,ja,kk,ko,mr,nl,pt,ru,ta,te,th,tl,tr,ur,vi,yo,zh"
PANX_OF_XTREME = (
    "ar,he,vi,id,jv,ms,tl,eu,ml,ta,te,af,nl,en,de,el,bn,hi,mr,ur,fa,fr,it,pt,es,bg,ru,ja,ka,ko,th,sw,yo,my,zh,"
    "kk,tr,et,fi,hu"
)
TATOEBA_OF_XTREME = (
    "ar,he,vi,id,jv,tl,eu,ml,ta,te,af,nl,de,el,bn,hi,mr,ur,fa,fr,it,pt,es,bg,ru,ja,ka,ko,th,sw,zh,kk,tr,et,"
    "fi,hu"
)


def test_every_task_has_its_number_of_languages() -> None:
    assert {task.value: len(spec.languages) for task, spec in TASKS.items()} == NUM_LANGUAGES


def test_the_languages_of_all_tasks_are_exactly_the_fifty() -> None:
    union = {code for spec in TASKS.values() for code in (*spec.languages, *spec.candidate_languages)}
    assert union == set(LANGUAGES)
    assert len(LANGUAGES) == len(set(LANGUAGES)) == 50


def test_languages_are_those_of_xtreme_and_those_that_xtreme_r_adds() -> None:
    assert set(TASKS[Task.UDPOS].languages) == set(UDPOS.split(",")) | {"lt", "pl", "ro", "uk", "wo"}
    added = {"az", "gu", "lt", "pa", "pl", "qu", "ro", "uk"}
    assert set(TASKS[Task.PANX].languages) == set(PANX_OF_XTREME.split(",")) | added
    assert set(TASKS[Task.TATOEBA].languages) == set(TATOEBA_OF_XTREME.split(",")) | {
        "az",
        "lt",
        "pl",
        "ro",
        "uk",
    }


def test_trap_romanian_of_xquad_is_not_skipped() -> None:
    assert "ro" in TASKS[Task.XQUAD].languages


def test_trap_wolof_of_udpos_is_not_skipped() -> None:
    assert "wo" in TASKS[Task.UDPOS].languages


def test_trap_lareqa_is_scored_in_eleven_languages() -> None:
    assert TASKS[Task.LAREQA].metric is Metric.MAP_AT_20
    assert len(TASKS[Task.LAREQA].languages) == 11


def test_trap_labels_of_xnli_are_in_the_order_of_the_benchmark() -> None:
    assert TASKS[Task.XNLI].labels == ("contradiction", "entailment", "neutral")


def test_tags_are_sorted_as_in_the_labels_files_of_the_benchmark() -> None:
    for task, num in ((Task.UDPOS, 17), (Task.PANX, 7)):
        labels = TASKS[task].labels
        assert list(labels) == sorted(labels)
        assert len(labels) == num


def test_caps_are_those_of_the_scripts() -> None:
    caps = {task.value: (spec.max_tokens, spec.candidate_max_tokens) for task, spec in TASKS.items()}
    assert caps == {
        "xnli": (128, None),
        "xcopa": (128, None),
        "udpos": (128, None),
        "panx": (128, None),
        "xquad": (384, None),
        "mlqa": (384, None),
        "tydiqa": (384, None),
        "tatoeba": (512, 512),
        "mewslix": (64, 64),
        "lareqa": (96, 256),
    }


def test_only_tasks_that_embed_retrieve_and_mewslix_searches_all_fifty_languages() -> None:
    for spec in TASKS.values():
        assert spec.retrieves == (spec.head is Head.EMBED)
    assert TASKS[Task.MEWSLIX].candidate_languages == LANGUAGES


def test_codes_of_file_names_cover_the_languages_of_their_tasks() -> None:
    assert set(ISO_639_3) == set(TASKS[Task.TATOEBA].languages)
    assert len(set(ISO_639_3.values())) == 41
    assert ISO_639_3["fa"] == "pes"
    assert ISO_639_3["sw"] == "swh"
    assert ISO_639_3["zh"] == "cmn"
    assert set(LANGUAGE_NAMES) == set(TASKS[Task.TYDIQA].languages)
