"""The GPU's benchmark: its page, from figures made up here, and all of its parts, on a CPU that stands in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from benchmarks import bench_gpu, gpu_parts
from benchmarks.engine_batches import useful_flops
from benchmarks.gpu_report import Sample, Samples, page, tables_of, verdicts_of
from models.synthetic import Size, shape_of
from tests.service.cuda_double import cuda_on_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GOAL_TOKENS = 16_384
PARTS = {"product", "forward", "linears", "attention", "plain", "recorded", "recording", "served"}


def sample(size: str, part: str, tokens: int | None, repeat: int, **values: float) -> Sample:
    return Sample(size=size, part=part, tokens=tokens, repeat=repeat, values=values)


def repeat_of(size: str, repeat: int, speed: float, served: float) -> list[Sample]:
    return [
        sample(size, "forward", GOAL_TOKENS, repeat, seconds=0.008, flops_per_s=speed),
        sample(size, "linears", GOAL_TOKENS, repeat, seconds=0.004, flops_per_s=speed),
        sample(size, "plain", 64, repeat, seconds=0.004),
        sample(size, "recorded", 64, repeat, seconds=0.001),
        sample(
            size,
            "served",
            None,
            repeat,
            offline_per_s=1e6,
            served_per_s=1e6 * served,
            served_together_per_s=0.9e6,
        ),
    ]


PRODUCTS = [
    Sample(size="", part="product", tokens=None, repeat=0, values={"2048": 600e12, "8192": 800e12}),
    Sample(size="", part="product", tokens=None, repeat=1, values={"2048": 400e12, "8192": 300e12}),
]
SAMPLES = Samples(
    given=(
        *PRODUCTS,
        *repeat_of("base", 0, 480e12, 0.85),
        *repeat_of("base", 1, 240e12, 0.85),
        *repeat_of("large", 0, 160e12, 0.7),
        *repeat_of("large", 1, 160e12, 0.84),
    )
)


def record_of(samples: Samples, **more: Any) -> dict[str, Any]:
    return {
        "at": "now",
        "took_s": 12.0,
        "few": False,
        "device": "a GPU",
        "torch": "2",
        "cuda": "13",
        "environment": {"commit": "abc"},
        "repeats": 2,
        "num_clients": 1024,
        "num_together": 16,
        "varlen_unavailable": {"base": None, "large": "it failed"},
        "missing": [],
        "verdicts": [],
        "samples": [
            {
                "size": one.size,
                "part": one.part,
                "tokens": one.tokens,
                "repeat": one.repeat,
                "values": one.values,
            }
            for one in samples.given
        ],
    } | more


def test_verdicts_say_shares_of_the_best_product_and_what_was_missed() -> None:
    seen = verdicts_of(SAMPLES, ["base", "large"], goal_tokens=GOAL_TOKENS, num_clients=1024)
    assert seen == [
        "base: >= 0.5 of the best product at 16,384 tokens: met (0.60 (0.60-0.60))",
        "large: >= 0.5 of the best product at 16,384 tokens: MISSED (0.30 (0.20-0.40))",
        "base: served >= 0.8 of offline at 1,024 clients: met (0.85 (0.85-0.85))",
        "large: served >= 0.8 of offline at 1,024 clients: MISSED (0.77 (0.70-0.84))",
    ]


def test_the_page_has_every_table_and_says_what_is_missing() -> None:
    text = page(record_of(SAMPLES, missing=["large forward 65,536 tokens repeat 0: OutOfMemoryError: full"]))
    assert "| base | 16,384 | 8.00 | 360 | 0.60 (0.60-0.60) |" in text
    assert "| base | 16,384 | linear maps alone | 4.00 | 360 | 0.50 (0.50-0.50) |" in text
    assert "| base | 64 | 4.00 | 1.00 | 0.25 (0.25-0.25) |" in text
    assert "| large | 1,024 | 1 | 770,000 | 1,000,000 | 0.77 (0.70-0.84) |" in text
    assert "| large | 64 | 16 | 900,000 | 1,000,000 | 0.90 (0.90-0.90) |" in text
    assert "2 of 2 interleaved repeats in 12 s" in text
    assert "- large forward 65,536 tokens repeat 0: OutOfMemoryError: full" in text
    assert "**large: no variable-length attention, no graphs: it failed.**" in text
    assert "base: no variable-length" not in text


@pytest.mark.parametrize("number", range(len(SAMPLES.given) + 1))
def test_whatever_was_measured_first_makes_a_page(number: int) -> None:
    so_far = Samples(given=SAMPLES.given[:number])
    text = page(record_of(so_far))
    assert text.startswith("# The engine on a GPU")
    for lines in tables_of(so_far, num_clients=1, num_together=1).values():
        assert len({len(line) for line in lines}) == 1
    seen = verdicts_of(so_far, ["base"], goal_tokens=GOAL_TOKENS, num_clients=1)
    assert seen[0].endswith("not measured") == (number < 3)


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """The benchmark sets up the logs of its own process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def run(out: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Run all of it on mini weights; what it ended with, and what it wrote."""
    arguments = ["--sizes", "mini", "--few", "--repeats", "2", "--models", str(out / "models")]
    code = bench_gpu.main([*arguments, "--out", str(out / "docs"), "--commit", "abc", *more])
    record: dict[str, Any] = json.loads((out / "docs" / "gpu.json").read_text(encoding="utf-8"))
    return code, record


def test_all_parts_run_and_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with cuda_on_cpu(monkeypatch, buckets=(64,)) as cuda:
        code, record = run(tmp_path)
    assert "batch_ran" not in capsys.readouterr().out
    assert (code, record["missing"], record["environment"]["commit"]) == (0, [], "abc")
    assert {one["part"] for one in record["samples"]} == PARTS
    forwards = [one for one in record["samples"] if one["part"] == "forward"]
    assert [(one["tokens"], one["repeat"]) for one in forwards] == [(32, 0), (64, 0), (32, 1), (64, 1)]
    assert all(value > 0 for one in record["samples"] for value in one["values"].values())
    assert record["varlen_unavailable"] == {"mini": None}
    assert not any("not measured" in line for line in record["verdicts"])
    text = (tmp_path / "docs" / "gpu.md").read_text(encoding="utf-8")
    assert "A quick try" in text
    assert "not measured" not in text
    assert set(cuda.modes) == {"thread_local"}


def test_a_part_that_fails_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> dict[str, float]:
        raise RuntimeError("CUDA out of memory.\nmore")

    with cuda_on_cpu(monkeypatch, buckets=(64,)), monkeypatch.context() as broken:
        broken.setattr(gpu_parts.Bench, "attention", fail)
        broken.setattr(bench_gpu, "served", fail)
        code, record = run(tmp_path)
    assert code == 1
    assert record["missing"] == [
        "mini attention 64 tokens repeat 0: RuntimeError: CUDA out of memory.",
        "mini served: RuntimeError: CUDA out of memory.",
        "mini attention 64 tokens repeat 1: RuntimeError: CUDA out of memory.",
    ]
    assert {one["part"] for one in record["samples"]} == PARTS - {"attention", "served"}
    assert record["verdicts"][0].startswith("mini: >= 0.5 of the best product at 64 tokens: ")


def test_nothing_begins_after_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_on_cpu(monkeypatch, buckets=(64,)):
        code, record = run(tmp_path, "--budget-s", "0")
    assert (code, record["samples"]) == (0, [])
    assert record["missing"][0] == "mini loading: not begun within 0 s"
    assert (tmp_path / "docs" / "gpu.md").exists()


def test_without_a_device_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench_gpu.main(["--out", str(tmp_path)]) == 2
    assert "no CUDA device" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_useful_work_is_every_token_in_every_layer() -> None:
    shape = shape_of(Size.MINI)
    flops = useful_flops((3, 5), num_layers=shape.num_layers, hidden=256, inner=1024)
    assert flops == 4 * (2 * 8 * (4 * 256 * 256 + 2 * 256 * 1024) + 4 * 256 * (9 + 25))


def test_make_knows_every_file_with_a_test_for_a_gpu(project_root: Path) -> None:
    marked = {
        str(file.relative_to(project_root))
        for file in project_root.glob("tests/**/test_*.py")
        if re.search(r"^(@|    )pytest\.mark\.gpu,?$", file.read_text("utf-8"), re.MULTILINE)
    }
    (line,) = re.findall(
        r"^GPU_TESTS +:= (.*)$", (project_root / "Makefile").read_text("utf-8"), re.MULTILINE
    )
    assert set(line.split()) == marked
