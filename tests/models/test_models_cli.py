"""The command ``xlmr-models``, run as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from models.checkpoint import load_model
from models.cli import main
from models.plan import as_toml
from models.variant import HeadKind, Lineage, Pooling, Variant, load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a finished command leaves behind."""

    code: int
    stdout: str
    stderr: str


if TYPE_CHECKING:
    Call = Callable[..., Done]


@pytest.fixture
def xlmr_models(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the command in this process: importing torch anew for each case takes seconds."""

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["xlmr-models", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        assert isinstance(code, int)
        said = capsys.readouterr()
        return Done(code=code, stdout=said.out, stderr=said.err)

    return call


def refused(done: Done, said: str) -> None:
    assert done.code == 2, done
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_installed_command_ends_with_one_line_and_no_traceback(project_root: Path) -> None:
    command = [sys.executable, "-m", "models", "list", "--catalogue", "/nowhere.toml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project_root)
    assert done.returncode == 2
    assert done.stderr == "xlmr-models: /nowhere.toml cannot be read (No such file or directory).\n"


def test_list_needs_no_torch(project_root: Path) -> None:
    code = "import sys, models.cli; print({'torch', 'transformers'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=project_root).stdout
        == "set()\n"
    )


def test_list_shows_the_shipped_catalogue(xlmr_models: Call) -> None:
    done = xlmr_models("list")
    assert done.code == 0
    for word in ("xlmr-large-hellaswag", "none yet", "deepset/xlm-roberta-large-squad2", "response-masking"):
        assert word in done.stdout


def test_synth_then_inspect_says_what_was_made(xlmr_models: Call, tmp_path: Path) -> None:
    out = tmp_path / "x"
    made = xlmr_models(
        "synth", "--size", "mini", "--head", "classify", "--labels", "yes,no", "--out", out, "--seed", 3
    )
    assert made.code == 0, made.stderr
    assert "the answers mean nothing" in made.stdout
    seen = xlmr_models("inspect", out)
    assert seen.code == 0, seen.stderr
    digest = load_model(Variant(name="x", head=HeadKind.CLASSIFY, checkpoint=str(out))).digest
    for word in ("classify", "yes, no", "4 x 256", digest, "the answers mean nothing", "512 tokens"):
        assert word in seen.stdout
    refused(xlmr_models("inspect", out, "--head", "span"), "lacks qa_outputs.bias, qa_outputs.weight")


PLAN = """
seed = 7

[[variant]]
name = "en.xnli"
head = "classify"
labels = ["contradiction", "entailment", "neutral"]
lineage = { system = "english", tasks = ["mnli"], languages = ["en"], source = "a \\"quoted\\" one" }

[[variant]]
name = "many.tatoeba"
head = "embed"
layer = 2
pooling = "mean"
normalize = true

[[variant]]
name = "en.xnli.again"
head = "classify"
labels = ["contradiction", "entailment", "neutral"]
seed = 7
"""


def test_a_plan_builds_every_variant_and_a_catalogue(xlmr_models: Call, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN, encoding="utf-8")
    done = xlmr_models("synth", "--plan", plan, "--out", tmp_path / "out")
    assert done.code == 0, done.stderr
    first, second, third = load_catalogue(tmp_path / "out" / "catalogue.toml")
    assert first.lineage == Lineage(
        system="english", tasks=("mnli",), languages=("en",), source='a "quoted" one'
    )
    assert (second.layer, second.pooling, second.normalize) == (2, Pooling.MEAN, True)
    loaded = [load_model(variant) for variant in (first, second, third)]
    assert [model.kind for model in loaded] == [HeadKind.CLASSIFY, HeadKind.EMBED, HeadKind.CLASSIFY]
    assert all(model.synthetic for model in loaded)
    # Each has a seed of its own unless it names one.
    assert loaded[0].digest == loaded[2].digest
    assert (
        loaded[0].tensor_digests["encoder.layers.0.query.weight"]
        != loaded[1].tensor_digests["encoder.layers.0.query.weight"]
    )


BAD_PLANS = {
    "a label missing": (PLAN.replace('head = "embed"', 'head = "tag"'), "belong to head"),
    "no labels": ('[[variant]]\nname = "a"\nhead = "tag"', "needs two labels"),
    "a checkpoint": (PLAN + 'checkpoint = "x"', "name none"),
    "an unknown size": ('size = "huge"\n' + PLAN, "size = 'huge'"),
    "an unknown key": ('colour = "red"\n' + PLAN, "colour"),
    "no tokenizer": ('tokenizer = "t.json"\n' + PLAN, "t.json is not there"),
    "nothing": ("", "variant"),
}


@pytest.mark.parametrize(("text", "said"), BAD_PLANS.values(), ids=BAD_PLANS.keys())
def test_a_bad_plan_writes_nothing(text: str, said: str, xlmr_models: Call, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(text, encoding="utf-8")
    refused(xlmr_models("synth", "--plan", plan, "--out", tmp_path / "out"), said)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "--catalogue", "/nowhere.toml"), "/nowhere.toml cannot be read"),
        (("inspect", "/nowhere"), "/nowhere is not a directory"),
        (("synth", "--out", "/nowhere"), "say which --head"),
        (("synth", "--out", "/nowhere", "--head", "poem"), "poem"),
        (("synth", "--out", "/nowhere", "--head", "tag"), "needs two labels"),
        (("synth", "--out", "/nowhere", "--head", "embed", "--size", "huge"), "--size huge is unknown"),
        (
            ("synth", "--out", "/nowhere", "--head", "embed", "--tokenizer", "/nowhere"),
            "not a tokenizer.json",
        ),
        (("synth", "--out", "/proc/none", "--head", "embed"), "/proc/none"),
        (("synth", "--out", "/nowhere", "--plan", "p", "--head", "embed"), "leave the other options out"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    arguments: tuple[str, ...], said: str, xlmr_models: Call
) -> None:
    refused(xlmr_models(*arguments), said)


def test_a_variant_survives_toml(tmp_path: Path) -> None:
    variant = Variant(
        name="x",
        head=HeadKind.TAG,
        checkpoint="none yet",
        labels=("B-\u00c9", 'say "\\n"', "tab\there"),
        note="line\none \u2028 \x7f",
        max_tokens=9,
        allow_bin=True,
        lineage=Lineage(system="s", tasks=("a", "b")),
    )
    file = tmp_path / "catalogue.toml"
    file.write_text(as_toml(variant), encoding="utf-8")
    assert load_catalogue(file) == (variant,)
