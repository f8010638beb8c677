"""Recordings of an encoder, replayed by running them again: what a GPU does with them, on a CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog
import torch

from models.checkpoint import load_model
from models.encoder import Rows, sdpa_attention
from models.variant import load_catalogue
from service.batching.packing import pack
from service.domain import Lane, Pooling
from service.engine.cuda import CudaRunner, Staging
from service.engine.graphs import BUCKETS, Bucket, EncoderGraphs, bucket_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from models.encoder import Attend
    from models.model import Model

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("num_tokens", "num_sequences", "bucket"),
    [
        (1, 1, Bucket(num_tokens=64, num_sequences=8)),
        (64, 8, Bucket(num_tokens=64, num_sequences=8)),
        (65, 1, Bucket(num_tokens=128, num_sequences=16)),
        (64, 9, Bucket(num_tokens=128, num_sequences=16)),
        (4096, 512, Bucket(num_tokens=4096, num_sequences=512)),
        (4096, 513, None),
        (4097, 1, None),
    ],
)
def test_the_smallest_bucket_that_holds_a_batch(
    num_tokens: int, num_sequences: int, bucket: Bucket | None
) -> None:
    assert bucket_for(num_tokens, num_sequences) == bucket


class Recorder:
    """Keeps what was recorded and runs it again; its output stays at one place, as a graph's does."""

    def __init__(self) -> None:
        self.num_recorded = 0
        self.num_replayed = 0

    def __call__(self, work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        self.num_recorded += 1
        output = work()

        def replay() -> None:
            self.num_replayed += 1
            output.copy_(work())

        return replay, output


def attention_like_the_kernels(cu_seqlens: Tensor, max_seqlen: int, rows: Rows) -> Attend:
    """Skip empty sequences, and leave NaN in what belongs to no sequence."""
    if rows is Rows.FIRST:
        return sdpa_attention(cu_seqlens, max_seqlen, rows)

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = torch.full(query.shape, torch.nan)
        for start, end in pairwise(cu_seqlens.tolist()):
            assert end - start <= max_seqlen
            if end > start:
                bounds = torch.tensor([0, end - start])
                part = sdpa_attention(bounds, end - start)
                output[start:end] = part(query[start:end], key[start:end], value[start:end])
        return output

    return attend


def sequences_of(lengths: Sequence[int], seed: int = 0) -> list[NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, 500, length).astype(np.int32) for length in lengths]


def load(catalogue: Path, name: str) -> Model:
    (variant,) = (variant for variant in load_catalogue(catalogue) if variant.name == name)
    model = load_model(variant)
    model.encoder.attention = attention_like_the_kernels
    return model


@pytest.mark.parametrize("name", ["classify", "choose", "tag", "span", "embed"])
def test_a_replayed_batch_gives_what_a_plain_one_gives(mini_catalogue: Path, name: str) -> None:
    model, recorder = load(mini_catalogue, name), Recorder()
    runner = CudaRunner(CPU, record=recorder)
    runner.prepare(model, None)
    assert recorder.num_recorded == len(BUCKETS)
    lane = Lane(variant=name, pooling=Pooling.MEAN if name == "embed" else None)
    # Long and short after one another: what an earlier batch left in the buffers must not show.
    for lengths in ([60, 3], [1], [200, 17, 40], [5, 5], [9] * 9, [120]):
        batch = pack(sequences_of(lengths), padding_idx=model.padding_idx)
        ours = runner.run(model, lane, batch)
        wanted = model.forward(
            torch.from_numpy(batch.input_ids),
            torch.from_numpy(batch.position_ids),
            torch.from_numpy(batch.cu_seqlens),
            batch.max_seqlen,
        )
        assert ours.isfinite().all()
        assert (ours - wanted).abs().max() <= 1e-4
    assert recorder.num_replayed == 6


def test_what_fits_no_bucket_or_was_not_recorded_runs_unrecorded(mini_catalogue: Path) -> None:
    model, recorder = load(mini_catalogue, "embed"), Recorder()
    runner = CudaRunner(CPU, record=recorder)
    runner.prepare(model, 2)
    crowd = pack(sequences_of([3] * 600), padding_idx=model.padding_idx)
    small = pack(sequences_of([5, 9]), padding_idx=model.padding_idx)
    for lane, batch, replayed in (
        (Lane(variant="embed", layer=2, pooling=Pooling.CLS), crowd, 0),
        (Lane(variant="embed", layer=1, pooling=Pooling.CLS), small, 0),
        (Lane(variant="embed", pooling=Pooling.CLS), small, 0),
        (Lane(variant="embed", layer=2, pooling=Pooling.CLS), small, 1),
    ):
        output = runner.run(model, lane, batch)
        assert recorder.num_replayed == replayed
        wanted = model.forward(
            torch.from_numpy(batch.input_ids),
            torch.from_numpy(batch.position_ids),
            torch.from_numpy(batch.cu_seqlens),
            batch.max_seqlen,
            layer=lane.layer,
            pooling="cls",
        )
        assert (output - wanted).abs().max() <= 1e-4


def test_equal_encoders_share_their_recordings(mini_catalogue: Path) -> None:
    embed, low, tag = (load(mini_catalogue, name) for name in ("embed", "low", "tag"))
    recorder = Recorder()
    runner = CudaRunner(CPU, record=recorder)
    for model in (embed, low, embed):
        runner.prepare(model, None)
    assert recorder.num_recorded == len(BUCKETS)
    batch = pack(sequences_of([5, 9]), padding_idx=low.padding_idx)
    runner.run(low, Lane(variant="low", pooling=Pooling.MEAN), batch)
    assert recorder.num_replayed == 1
    runner.prepare(tag, None)
    assert recorder.num_recorded == 2 * len(BUCKETS)


def test_what_cannot_be_recorded_is_told_once_and_runs_all_the_same(mini_catalogue: Path) -> None:
    model = load(mini_catalogue, "classify")

    def refuse(work: Callable[[], Tensor]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    runner = CudaRunner(CPU, record=refuse)
    with structlog.testing.capture_logs() as logs:
        runner.prepare(model, None)
        runner.prepare(model, 1)
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("graphs_unavailable", "operation not permitted when stream is capturing")
    ]
    batch = pack(sequences_of([5, 9]), padding_idx=model.padding_idx)
    assert runner.run(model, Lane(variant="classify"), batch).shape == (2, 3)


def test_the_longest_length_is_the_same_in_every_recording() -> None:
    asked: list[int] = []

    def encode(input_ids: Tensor, position_ids: Tensor, cu_seqlens: Tensor, longest: int) -> Tensor:
        asked.append(longest)
        return input_ids[:, None].float()

    graphs = EncoderGraphs(encode, max_seqlen=512, device=CPU, record=Recorder())
    ids = torch.tensor([7, 8, 9], dtype=torch.int32)
    hidden = graphs.run(ids, ids, torch.tensor([0, 3], dtype=torch.int32))
    assert hidden is not None
    assert hidden.flatten().tolist() == [7, 8, 9]
    assert set(asked) == {512}


def test_staging_brings_a_batch_of_any_size_in_one_piece() -> None:
    staging = Staging(CPU)
    for count in (1, 3, 40_000, 2):
        batch = pack(sequences_of([2] * count, seed=count), padding_idx=1)
        brought = staging.bring(batch)
        for ours, wanted in zip(
            brought, (batch.input_ids, batch.position_ids, batch.cu_seqlens), strict=True
        ):
            assert ours.dtype == torch.int32
            assert np.array_equal(ours.numpy(), wanted)


def test_threads_that_run_at_the_same_time_do_not_touch_each_others_batches(mini_catalogue: Path) -> None:
    model = load(mini_catalogue, "classify")
    runner, lane = CudaRunner(CPU, record=Recorder(), num_threads=2), Lane(variant="classify")
    runner.prepare(model, None)
    batches = [pack(sequences_of([60, 3 + n], seed=n), padding_idx=model.padding_idx) for n in range(8)]
    wanted = [runner.run(model, lane, batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:  # more than there are buffers: two wait
        seen = list(pool.map(lambda n: runner.run(model, lane, batches[n % 8]), range(64)))
    for index, output in enumerate(seen):
        assert torch.equal(output, wanted[index % 8])


def test_a_batch_that_fails_gives_its_buffers_back(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(mini_catalogue, "classify")
    runner, lane = CudaRunner(CPU, record=None), Lane(variant="classify")
    batch = pack(sequences_of([5]), padding_idx=model.padding_idx)
    wanted = runner.run(model, lane, batch)

    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError

    with monkeypatch.context() as broken:
        broken.setattr(type(model), "forward", fail)
        for _ in range(3):
            with pytest.raises(torch.OutOfMemoryError):
                runner.run(model, lane, batch)
    assert torch.equal(runner.run(model, lane, batch), wanted)
