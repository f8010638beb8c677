"""Samples and vectors: what is written is what is read, and damage is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from loadtest.trace.embeddings import (
    Candidates,
    EmbeddingsError,
    read_candidates,
    read_origin,
    read_queries,
    write_candidates,
    write_queries,
)
from loadtest.trace.samples import FILE_NAME, SCHEMA, SamplesError, read_samples, write_samples

if TYPE_CHECKING:
    from pathlib import Path


def row(i: int, **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "i": i,
        "item": f"xnli/sw/{i}",
        "task": "xnli",
        "language": "sw",
        "variant": "v",
        "arm": "a",
        "replicate": 0,
        "intended_us": 1000 * i,
        "sent_us": 1000 * i + 10,
        "done_us": 1000 * i + 5010,
        "status": 200,
        "error": None,
        "censored": False,
        "tokens": 12,
        "tokenize_ms": 0.5,
        "queue_ms": 1.5,
        "infer_ms": 2.0,
        "decode_ms": 0.25,
        "total_ms": 4.5,
        "answer": '{"label":"neutral"}',
    }
    return {**fields, **changes}


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA)


def test_the_columns_are_those_of_the_contract() -> None:
    contract = (
        "i item task language variant arm replicate intended_us sent_us done_us status error censored "
        "tokens tokenize_ms queue_ms infer_ms decode_ms total_ms answer"
    )
    assert SCHEMA.names() == contract.split()


def test_rows_come_back_in_the_order_of_the_schedule(tmp_path: Path) -> None:
    lost = row(1, sent_us=None, status=None, error="not sent", censored=True, tokens=None, answer=None)
    write_samples(tmp_path, frame(row(2), lost, row(0)))
    read = read_samples(tmp_path)
    assert read["i"].to_list() == [0, 1, 2]
    assert read.schema == SCHEMA
    assert read.row(1, named=True) == lost


def test_an_arrival_with_two_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="more than one row"):
        write_samples(tmp_path, frame(row(0), row(0)))


def test_a_row_without_an_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="gaps in the columns done_us"):
        write_samples(tmp_path, frame(row(0, done_us=None)))


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match="sent_us Float64 instead of Int64"):
        write_samples(tmp_path, frame(row(0)).with_columns(pl.col("sent_us").cast(pl.Float64)))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    frame(row(0)).drop("answer").write_parquet(tmp_path / FILE_NAME)
    with pytest.raises(SamplesError, match="lacks the columns answer"):
        read_samples(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SamplesError, match=r"samples\.parquet is not there"):
        read_samples(tmp_path)


def test_a_file_cut_in_half_is_damaged(tmp_path: Path) -> None:
    path = write_samples(tmp_path, frame(*(row(i) for i in range(100))))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SamplesError, match="cannot be read"):
        read_samples(tmp_path)


def test_query_vectors_keep_their_rows_and_bits(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).normal(size=(5, 7)).astype(np.float32)
    write_queries(tmp_path, "tatoeba", vectors)
    read = read_queries(tmp_path, "tatoeba")
    assert read.dtype == np.float32
    assert np.array_equal(read, vectors)


def _run_with_candidates(tmp_path: Path) -> tuple[Path, Candidates]:
    candidates = Candidates(
        ids=("c/1", "c/2"),
        vectors=np.arange(6, dtype=np.float32).reshape(2, 3),
        origin={"variant": "v", "revision": "r1"},
    )
    write_candidates(tmp_path / "index", "lareqa", candidates)
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "run.json").write_text(json.dumps({"index": "../index"}), encoding="utf-8")
    return run_dir, candidates


def test_candidates_are_found_through_the_run_that_used_them(tmp_path: Path) -> None:
    run_dir, candidates = _run_with_candidates(tmp_path)
    read = read_candidates(run_dir, "lareqa")
    assert read.ids == candidates.ids
    assert read.origin == {"variant": "v", "revision": "r1"}
    assert np.array_equal(read.vectors, candidates.vectors)
    assert read_origin(tmp_path / "index", "lareqa") == {"variant": "v", "revision": "r1"}


def test_an_index_that_was_never_finished_does_not_count(tmp_path: Path) -> None:
    _run_with_candidates(tmp_path)
    (tmp_path / "index" / "lareqa.candidates.json").unlink()
    assert read_origin(tmp_path / "index", "lareqa") is None


def test_vectors_and_ids_that_disagree_are_refused(tmp_path: Path) -> None:
    run_dir, _ = _run_with_candidates(tmp_path)
    np.save(tmp_path / "index" / "lareqa.candidates.npy", np.zeros((3, 3), dtype=np.float32))
    with pytest.raises(EmbeddingsError, match="2 candidates for 3 vectors"):
        read_candidates(run_dir, "lareqa")


def test_a_run_without_an_index_says_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(EmbeddingsError, match="embedded no candidates"):
        read_candidates(tmp_path, "lareqa")
