"""What a summary says beside its figures: validity, notes, mismatch, and that it is always the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import polars as pl
import pytest

import loadtest.report
from loadtest.datasets import library
from loadtest.datasets.tasks import Task
from loadtest.report.run_files import ReportError
from loadtest.report.schemas import SCHEMAS, schema_text
from loadtest.report.summary import SUMMARY_FILE, read_summary, write_summary
from loadtest.trace.samples import read_samples, write_samples

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FEW: dict[str, Any] = {"num": 80, "tasks": (Task.XNLI, Task.TATOEBA), "items_per_cell": 1}


def edit(path: Path, **changes: Any) -> None:
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | changes))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_published_schemas_are_current(name: str) -> None:
    published = (files(loadtest.report) / name).read_text(encoding="utf-8")
    assert published == schema_text(SCHEMAS[name]), "run python -m loadtest.report.schemas and commit"


def test_a_summary_has_the_least_keys_and_fits_its_schema(reported_run: Path) -> None:
    found = json.loads((reported_run / SUMMARY_FILE).read_text())
    assert {"schema", "valid", "reasons", "environment", "overall", "by_task", "by_language"} <= found.keys()
    least = {"n", "latency_s", "service_s", "lateness_s", "throughput_per_s", "offered_per_s", "errors"}
    assert least <= found["overall"].keys()
    assert {"p50", "p95", "p99"} <= found["overall"]["latency_s"].keys()
    jsonschema_rs.Draft202012Validator(json.loads(schema_text(SCHEMAS["summary.schema.json"]))).validate(
        found
    )


def test_a_study_fits_its_schema(reported_study: Path) -> None:
    found = json.loads((reported_study / "study.json").read_text())
    jsonschema_rs.Draft202012Validator(json.loads(schema_text(SCHEMAS["study.schema.json"]))).validate(found)


def test_the_same_files_give_the_same_bytes(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW)
    write_summary(run_dir)
    first = hashlib.sha256((run_dir / SUMMARY_FILE).read_bytes()).hexdigest()
    write_summary(run_dir)
    assert hashlib.sha256((run_dir / SUMMARY_FILE).read_bytes()).hexdigest() == first


def test_what_is_written_is_what_is_read(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW)
    assert write_summary(run_dir) == read_summary(run_dir)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"gauges": {"steal_ratio": 0.2}}, "Steal"),
        ({"gauges": {"generator_cpu_ratio": 0.97}}, "Generator"),
        ({"gauges": {"num_workers": 2, "num_workers_lost": 1}}, "1 of 2 workers"),
        ({"gauges": {"changed_weights": ["en-squad2.xnli"]}}, "en-squad2.xnli"),
        ({"outcome": {"status": "interrupted", "message": "The run was stopped."}}, "The run was stopped."),
    ],
)
def test_an_invalid_run_has_a_summary_that_says_why(
    make_run: Callable[..., Path], tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    assert write_summary(run_dir).valid
    edit(run_dir / "run.json", **changes)
    found = write_summary(run_dir)
    assert not found.valid
    assert len(found.reasons) == 1
    assert word in found.reasons[0]
    assert found.overall.n == 80
    assert json.loads((run_dir / SUMMARY_FILE).read_text())["valid"] is False


def test_late_sends_and_a_cut_schedule_are_seen_in_the_samples(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    late = read_samples(run_dir).with_columns(sent_us=pl.col("sent_us") + 50_000)
    write_samples(run_dir, late.with_columns(done_us=pl.max_horizontal("done_us", "sent_us")))
    assert any(reason.startswith("Lateness") for reason in write_summary(run_dir).reasons)
    write_samples(run_dir, read_samples(run_dir).head(70))
    assert any("70 samples for 80" in reason for reason in write_summary(run_dir).reasons)


def test_synthetic_weights_and_sample_text_are_named(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW)
    assert any("synthetic" in note for note in write_summary(run_dir).notes)
    assert not any("sample" in note for note in write_summary(run_dir).notes)
    schedule = tmp_path / "trace" / "schedule.jsonl"
    header, *arrivals = schedule.read_text().splitlines(keepends=True)
    bundled = library.open_library(library.BUNDLED)
    portion = bundled.read(Task.XNLI, "en")
    source = json.loads(header)["sources"][0] | {
        "file": portion.files[0].name,
        "sha256": portion.files[0].sha256,
    }
    schedule.write_text(json.dumps(json.loads(header) | {"sources": [source]}) + "\n" + "".join(arrivals))
    assert any("bundled sample" in note for note in write_summary(run_dir).notes)


def test_offline_is_no_verdict_on_latency(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW, info={"objectives": ["p50<1ms, goodput>=9/s, error_rate<50%"]})
    schedule = tmp_path / "trace" / "schedule.jsonl"
    schedule.write_text(schedule.read_text().replace("poisson:40", "offline"))
    found = write_summary(run_dir)
    assert [one.met for one in found.objectives] == [None, None, True]
    assert found.overall.goodput is None
    assert any("Offline" in note for note in found.notes)
    assert found.overall.offered_per_s is None
    assert found.overall.throughput_per_s is not None
    assert next(check for check in found.checks if check.name == "lateness").passed is None


def test_departures_from_the_benchmark_are_listed(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW, info={"deviations": ["tatoeba: layer 3 instead of 14"]})
    schedule = tmp_path / "trace" / "schedule.jsonl"
    schedule.write_text(schedule.read_text().replace('"options":{}', '"options":{"split-long":true}', 1))
    found = write_summary(run_dir)
    assert found.deviations == ("tatoeba: layer 3 instead of 14", "split-long = True")


def test_answers_that_changed_under_load_are_counted(make_run: Callable[..., Path], tmp_path: Path) -> None:
    plan = FEW | {"accuracy": 1.0, "error_ratio": 0.0, "censored_ratio": 0.0}
    unloaded, loaded = make_run(tmp_path, "unloaded", **plan), make_run(tmp_path, "loaded", **plan)
    same = write_summary(loaded, unloaded).overall.mismatch
    assert same is not None
    assert (same.num_compared, same.num_different, same.ratio) == (80, 0, 0.0)
    frame = read_samples(loaded)
    first = frame.filter(pl.col("task") == "xnli")["i"][0]
    changed = pl.when(pl.col("i") == first).then(pl.lit('{"label":"other","scores":{"other":1.0}}'))
    write_samples(loaded, frame.with_columns(answer=changed.otherwise(pl.col("answer"))))
    found = write_summary(loaded, unloaded)
    assert found.overall.mismatch is not None
    assert found.overall.mismatch.num_different == 1
    assert found.by_task["xnli"].mismatch is not None
    assert found.by_task["xnli"].mismatch.num_different == 1
    assert found.by_task["tatoeba"].mismatch is not None
    assert found.by_task["tatoeba"].mismatch.num_different == 0
    assert write_summary(loaded).overall.mismatch is None


def test_int8_is_held_to_its_own_bound(make_run: Callable[..., Path], tmp_path: Path) -> None:
    plan = FEW | {"tasks": (Task.XNLI,), "accuracy": 1.0, "error_ratio": 0.0, "censored_ratio": 0.0}
    unloaded, loaded = make_run(tmp_path, "unloaded", **plan), make_run(tmp_path, "loaded", **plan)
    frame = read_samples(loaded)
    write_samples(loaded, frame.with_columns(pl.col("answer").str.replace("0.9", "0.905", literal=True)))
    found = write_summary(loaded, unloaded).overall.mismatch
    assert found is not None
    assert found.num_different == 80
    card = json.loads((loaded / "run.json").read_text())["variants"][0]
    edit(loaded / "run.json", variants=[card | {"dtype": "int8"}])
    found = write_summary(loaded, unloaded).overall.mismatch
    assert found is not None
    assert found.num_different == 0
    assert found.largest_difference == pytest.approx(0.005)


def test_served_labels_are_read_by_name_or_by_the_arms_table(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    plan = FEW | {"tasks": (Task.XNLI,), "accuracy": 1.0, "error_ratio": 0.0, "censored_ratio": 0.0}
    run_dir = make_run(tmp_path, **plan)
    named = {"contradiction": "LABEL_2", "entailment": "ENTAILMENT", "neutral": "Neutral"}
    frame = read_samples(run_dir)
    for gold, served in named.items():
        frame = frame.with_columns(pl.col("answer").str.replace_all(f'"{gold}"', f'"{served}"'))
    write_samples(run_dir, frame)
    info = json.loads((run_dir / "run.json").read_text())
    card = info["variants"][0] | {"labels": list(named.values())}
    edit(run_dir / "run.json", variants=[card], labels={"xnli": {"LABEL_2": "contradiction"}})
    quality = write_summary(run_dir).overall.quality
    assert quality is not None
    assert quality.score == 1.0
    edit(run_dir / "run.json", labels={})
    quality = write_summary(run_dir).overall.quality
    assert quality is not None
    assert quality.score is not None
    assert quality.score < 1.0


def test_a_trace_that_is_gone_costs_scores_and_not_the_report(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    shutil.rmtree(tmp_path / "trace")
    found = write_summary(run_dir)
    assert found.overall.latency_s.p50 is not None
    assert found.overall.quality is None
    assert any("could not be read" in note for note in found.notes)


def test_missing_candidates_cost_the_retrieval_scores_alone(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    shutil.rmtree(tmp_path / "index")
    found = write_summary(run_dir)
    assert found.by_task["xnli"].quality is not None
    assert found.by_task["tatoeba"].quality is None


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json"),
        (lambda run: (run / "run.json").write_text("{"), "no JSON"),
        (
            lambda run: (run / "run.json").write_text('{"gauges": {"steal_ratio": "much"}}'),
            "gauges.steal_ratio",
        ),
        (lambda run: (run / "samples.parquet").unlink(), "samples.parquet"),
        (lambda run: (run / "samples.parquet").write_bytes(b"PAR1 no"), "cannot be read"),
        (lambda run: edit(run / "run.json", objectives=["p95<200parsecs"]), "p95<200parsecs"),
    ],
)
def test_damaged_files_are_named(
    make_run: Callable[..., Path], tmp_path: Path, damage: Callable[[Path], object], word: str
) -> None:
    run_dir = make_run(tmp_path, **FEW)
    damage(run_dir)
    with pytest.raises(ReportError, match=word):
        write_summary(run_dir)


def test_a_summary_of_another_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="xlmr-load report"):
        read_summary(tmp_path)
    (tmp_path / SUMMARY_FILE).write_text('{"schema": "xlmr-summary/0"}')
    with pytest.raises(ReportError, match="another version"):
        read_summary(tmp_path)
