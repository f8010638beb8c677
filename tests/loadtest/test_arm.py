"""Arm files: what is read, and one clear sentence for each mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtest.trace.arm import Arm, ArmError, load_arm

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
name = "english-intermediate"
[variants]
xnli = "en-squad2.xnli"
xquad = "en-squad2.xquad"
[labels.xnli]
LABEL_0 = "contradiction"
LABEL_1 = "entailment"
LABEL_2 = "neutral"
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "arm.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_name_variants_and_labels(tmp_path: Path) -> None:
    arm = load_arm(_write(tmp_path, GOOD))
    assert arm == Arm(
        name="english-intermediate",
        variants={"xnli": "en-squad2.xnli", "xquad": "en-squad2.xquad"},
        labels={"xnli": {"LABEL_0": "contradiction", "LABEL_1": "entailment", "LABEL_2": "neutral"}},
    )


def test_labels_are_optional(tmp_path: Path) -> None:
    assert load_arm(_write(tmp_path, 'name = "a"\n[variants]\nxcopa = "v"\n')).labels == {}


def test_an_arm_cannot_be_changed_after_reading(tmp_path: Path) -> None:
    arm = load_arm(_write(tmp_path, GOOD))
    with pytest.raises(TypeError):
        arm.variants["xnli"] = "another"  # type: ignore[index]  # the point of the test


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "no valid TOML"),
        ('[variants]\nxnli = "v"\n', "needs a name"),
        ('name = " "\n[variants]\nxnli = "v"\n', "needs a name"),
        ('name = "a"\n', "at least one variant"),
        ('name = "a"\nvariants = "v"\n', "variants is a table"),
        ('name = "a"\n[variants]\nxnlli = "v"\n', "'xnlli'"),
        ('name = "a"\n[variants]\nxnli = 3\n', "maps a task to a variant"),
        ('name = "a"\n[variants]\nxnli = ""\n', "maps a task to a variant"),
        ('name = "a"\ntarget = "x"\n[variants]\nxnli = "v"\n', "'target'"),
        ('name = "a"\nlabels = 1\n[variants]\nxnli = "v"\n', "table of tables"),
        ('name = "a"\n[variants]\nxnli = "v"\n[labels.xnli]\nA = "maybe"\n', "'maybe'"),
        ('name = "a"\n[variants]\nxnli = "v"\n[labels.panx]\nA = "O"\n', "belongs to no variant"),
        ('name = "a"\n[variants]\nxquad = "v"\n[labels.xquad]\nA = "O"\n', "are no labels"),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ArmError) as caught:
        load_arm(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArmError, match=r"none\.toml cannot be read: No such file"):
        load_arm(tmp_path / "none.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "arm.toml"
    path.write_bytes(b'name = "\xff"')
    with pytest.raises(ArmError, match="no valid TOML"):
        load_arm(path)
