"""The page that `make study` writes, from a digest: nothing on it that the digest does not say."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bench_study import set_aside
from benchmarks.study_page import markdown

if TYPE_CHECKING:
    from pathlib import Path

COMPARISON = {
    "name": "p50",
    "primary": True,
    "log_ratio": 0.0,
    "interval": {"low": -0.0953101798, "high": 0.0953101798, "confidence": 0.95},
    "margin": None,
    "num_pairs": 8,
    "num_pairs_needed": 21,
    "word": "inconclusive",
}
RUN = {
    "path": "runs/000-aa-old",
    "valid": True,
    "reasons": [],
    "n": 285,
    "latency_s": {"p50": 0.0102, "p95": None},
    "lateness_p99": "2.1 ms",
    "steal_ratio": 0.001,
}


def digest(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "verdict": {"word": "inconclusive", "paragraph": "It could not be settled."},
        "aa": [{**COMPARISON, "name": "A/A: p50", "primary": False}],
        "positive_control": {
            "planted_ratio": 1.5,
            "found": True,
            "comparison": {**COMPARISON, "name": "control: p50", "word": "slower"},
        },
        "comparisons": [COMPARISON],
        "num_parts": 60,
        "num_parts_marked": 0,
        "runs": [RUN],
        "elapsed_s": 431.2,
        "goal_s": 480.0,
        "deviations": ["One thing."],
        "environment": {"cpu_model": "X", "num_cores": 2, "commit": "0123456789ab", "dirty": False},
        "design": {
            "server_cpus": "0",
            "load_cpus": "1",
            "seeds": {"root": 7},
            "primary_load_ratio": 0.3,
            "capacity_per_s": 118.4,
            "replicate_s": 8.0,
        },
    }
    return {**found, **changes}


def test_a_page_of_a_quick_go_says_that_it_proves_nothing_else() -> None:
    assert "Made with `--quick`" in markdown(digest(quick=True))
    assert "Made with `--quick`" not in markdown(digest(quick=False))


def test_a_study_that_ended_or_is_of_another_file_is_set_aside(tmp_path: Path) -> None:
    file, folder = tmp_path / "study.toml", tmp_path / "study"
    file.write_bytes(b"name = 'x'")
    assert not set_aside(folder, file)
    for _ in range(2):
        folder.mkdir()
        (folder / "declared.json").write_text(json.dumps({"sha256": sha256(b"name = 'x'").hexdigest()}))
        assert not set_aside(folder, file), "a study that was interrupted goes on"
        (folder / "report.html").write_text("")
        assert set_aside(folder, file)
        assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["study.before"]
    folder.mkdir()
    (folder / "declared.json").write_text("{}")
    assert set_aside(folder, file)


def test_the_page_says_what_was_found() -> None:
    page = markdown(digest())
    assert "**INCONCLUSIVE.** It could not be settled." in page
    assert "| p50 (primary) | 1.000 | 0.909 to 1.100 | - | 8 | inconclusive | 21 |" in page
    assert "| 000-aa-old | yes | 285 | 10.2 | - | 2.1 | 0.10% |" in page
    assert "Weights are synthetic" in page
    assert "**no**" not in page
    assert all(line.count("|") == 5 for line in page.splitlines() if line.endswith("| yes |"))


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"elapsed_s": 500.0}, "| the whole study, up to its page | <= 480 s | 500 s | **no** |"),
        (
            {"runs": [RUN, {**RUN, "valid": False, "reasons": ["Lateness: 9 ms."]}]},
            "| valid runs | all | 1 of 2 | **no** |",
        ),
        (
            {"aa": [{**COMPARISON, "word": "slower"}]},
            "| the reference against itself | no alarm | slower | **no** |",
        ),
        (
            {"aa": [{**COMPARISON, "num_pairs": 0}]},
            "| the reference against itself | no alarm | inconclusive | **no** |",
        ),
    ],
)
def test_a_missed_goal_is_said_plainly(changes: dict[str, Any], row: str) -> None:
    assert row in markdown(digest(**changes))
