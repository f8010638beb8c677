"""Catalogues: what is read, and the one line that each mistake gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import models.variant
from models.variant import NONE_YET, CatalogueError, HeadKind, Lineage, Pooling, Variant, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(models.variant.__file__).parent / "catalogue.toml"


def catalogue(folder: Path, text: str) -> Path:
    file = folder / "catalogue.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_key_is_read_and_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights" / "x").mkdir(parents=True)
    (tmp_path / "weights" / "x" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tok.json").write_text("{}", encoding="utf-8")
    monkeypatch.chdir("/")
    file = catalogue(
        tmp_path,
        f"""
        [[variant]]
        name = "en-mnli.xnli"
        head = "classify"
        checkpoint = "weights/x"
        base = "FacebookAI/xlm-roberta-base"
        labels = ["contradiction", "entailment"]
        tokenizer = "tok.json"
        revision = "main"
        sha256 = "{"a" * 64}"
        dtype = "bfloat16"
        max_tokens = 128
        allow_bin = true
        note = "n"
        [variant.lineage]
        system = "english-intermediate"
        tasks = ["mnli"]
        languages = ["en"]
        source = "somebody"

        [[variant]]
        name = "plain"
        head = "embed"
        checkpoint = "none yet"
        pooling = "cls"
        layer = 0
        normalize = false
        """,
    )
    first, second = load_catalogue(file)
    assert first == Variant(
        name="en-mnli.xnli",
        head=HeadKind.CLASSIFY,
        checkpoint=str(tmp_path / "weights" / "x"),
        base="FacebookAI/xlm-roberta-base",
        labels=("contradiction", "entailment"),
        tokenizer=str(tmp_path / "tok.json"),
        revision="main",
        sha256="a" * 64,
        dtype="bfloat16",
        max_tokens=128,
        allow_bin=True,
        note="n",
        lineage=Lineage(system="english-intermediate", tasks=("mnli",), languages=("en",), source="somebody"),
    )
    assert (first.available, first.is_local) == (True, True)
    assert second == Variant(
        name="plain", head=HeadKind.EMBED, checkpoint=NONE_YET, pooling=Pooling.CLS, layer=0, normalize=False
    )
    assert (second.available, second.is_local) == (False, False)


VARIANT = '[[variant]]\nname = "a"\nhead = "embed"\ncheckpoint = "none yet"\n'
MISTAKES = {
    "not toml": ("[[variant", "is not TOML"),
    "nothing": ("", "'variant' is missing"),
    "no variants": ("variant = []", "variant = []"),
    "not a list": ('variant = "a"', "variant = 'a'"),
    "unknown key": (VARIANT + "colour = 1", "variant 'a': unknown key 'colour'; known are name, head"),
    "unknown top key": (VARIANT.replace("[[", "x = 1\n[["), "unknown key 'x'; known are variant"),
    "unknown lineage key": (
        VARIANT + "lineage = {task = []}",
        "unknown key 'lineage.task'; known are system",
    ),
    "unknown head": (VARIANT.replace("embed", "summarise"), "variant 'a': head = 'summarise'"),
    "no name": (VARIANT.replace('name = "a"', ""), "variant number 1: the key 'name' is missing"),
    "no head": (VARIANT.replace('head = "embed"', ""), "variant 'a': the key 'head' is missing"),
    "a name for no path": (VARIANT.replace('"a"', '"a/b"'), "variant 'a/b': name = 'a/b'"),
    "twice": (VARIANT * 2, "variant 'a' stands twice"),
    "a wrong type": (VARIANT + 'max_tokens = "many"', "max_tokens = 'many'"),
    "a number for a truth": (VARIANT + "normalize = 1", "normalize = 1"),
    "a wrong dtype": (VARIANT + 'dtype = "int4"', "dtype = 'int4'"),
    "a wrong pooling": (VARIANT + 'pooling = "max"', "pooling = 'max'"),
    "a negative layer": (VARIANT + "layer = -1", "layer = -1"),
    "a digest that is none": (VARIANT + 'sha256 = "abc"', "sha256 = 'abc'"),
    "pooling of a tagger": (
        VARIANT.replace("embed", "tag") + 'pooling = "cls"',
        'belong to head = "embed", not tag',
    ),
    "a label twice": (VARIANT.replace("embed", "tag") + 'labels = ["O", "O"]', "a label stands twice"),
    "no such directory": (VARIANT.replace("none yet", "./nowhere"), "nowhere is not there"),
    "no such name": (VARIANT.replace("none yet", "nowhere"), "nowhere is not there"),
    "no such deep path": (VARIANT.replace("none yet", "a/b/c"), "a/b/c is not there"),
    "a directory without a checkpoint": (VARIANT.replace("none yet", "."), "has no config.json"),
    "no such tokenizer": (VARIANT + 'tokenizer = "t/tokenizer.json"', "t/tokenizer.json is not there"),
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_is_one_line_that_names_file_and_variant(text: str, said: str, tmp_path: Path) -> None:
    file = catalogue(tmp_path, text)
    with pytest.raises(CatalogueError) as caught:
        load_catalogue(file)
    assert said in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="No such file"):
        load_catalogue(tmp_path / "absent.toml")
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(CatalogueError, match="not UTF-8"):
        load_catalogue(tmp_path / "latin.toml")


def test_hub_ids_are_kept_as_they_are(tmp_path: Path) -> None:
    file = catalogue(tmp_path, VARIANT.replace("none yet", "some/model") + 'tokenizer = "some/tokenizer"')
    (variant,) = load_catalogue(file)
    assert (variant.checkpoint, variant.tokenizer) == ("some/model", "some/tokenizer")
    assert (variant.available, variant.is_local) == (True, False)


def having(system: str, *tasks: str) -> Callable[[Variant], bool]:
    return lambda variant: variant.lineage.system == system and set(tasks) <= set(variant.lineage.tasks)


NINE = ("anli", "mnli", "qqp", "squad_v2", "squad_v1", "hellaswag", "ccg", "cosmosqa", "commonsenseqa")
SYSTEMS = {
    "no intermediate task": having("no-intermediate"),
    **{task: having("english-intermediate", task) for task in NINE},
    "multi-task": having("english-multi-task", *NINE),
    "English and continued multilingual MLM": having("english-intermediate-with-multilingual-mlm", "mlm"),
    "machine-translated": having("machine-translated-intermediate"),
    "monolingual dialogue modelling": having("cross-lingual-intermediate", "monolingual-dialogue-modelling"),
    "cross-lingual dialogue modelling": having(
        "cross-lingual-intermediate", "cross-lingual-dialogue-modelling"
    ),
    "response masking": having("cross-lingual-intermediate", "response-masking"),
    "TLM": having("cross-lingual-intermediate", "translation-language-modelling"),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_shipped_catalogue_names_every_system_of_the_papers(system: str) -> None:
    assert any(map(SYSTEMS[system], load_catalogue(SHIPPED)))


def test_every_variant_of_the_shipped_catalogue_says_where_it_comes_from() -> None:
    for variant in load_catalogue(SHIPPED):
        assert variant.lineage.source, variant.name
        assert variant.lineage.system != "unspecified", variant.name
