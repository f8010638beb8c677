"""What runs on a GPU, on a CPU that stands in for one: the way of a batch, and what goes wrong on it."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog
import torch

from models.attention_varlen import choose_attention, takes_what_is_passed
from models.variant import load_catalogue
from service.batching.packing import pack
from service.domain import Lane, Pooling
from service.engine.cuda import CudaRunner
from service.engine.graphs import cuda_recorder
from service.engine.torch_device import DeviceOptions, TorchDevice
from tests.service.cuda_double import cuda_on_cpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from models.variant import Variant
    from service.batching.packing import PackedBatch
    from service.engine.device import Loaded

BUCKETS = (64, 256)
# In the first bucket, full, in the second, too many tokens, and too many sequences.
LENGTHS = ([5], [3, 60], [64], [100, 1, 2, 30], [200, 200], [2] * 40)


def variants_of(catalogue: Path, *names: str) -> tuple[Variant, ...]:
    return tuple(variant for variant in load_catalogue(catalogue) if variant.name in names)


def batch_of(lengths: Sequence[int], seed: int = 0) -> PackedBatch:
    rng = np.random.default_rng(seed)
    return pack([rng.integers(4, 500, length).astype(np.int32) for length in lengths], padding_idx=1)


def lane_of(head: str) -> Lane:
    return Lane(variant=head, pooling=Pooling.MEAN if head == "embed" else None)


def load(variants: tuple[Variant, ...], name: str, dtype: str | None) -> tuple[TorchDevice, list[Loaded]]:
    device = TorchDevice(variants, DeviceOptions(name=name, dtype=dtype, num_threads=1))
    return device, list(device.load())


def test_torch_s_own_function_takes_what_is_passed() -> None:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - it brings the compiler

    assert takes_what_is_passed(varlen_attn)


@pytest.mark.parametrize("name", ["classify", "tag", "embed"])
def test_answers_are_those_of_the_cpu_recorded_or_not(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    variants = variants_of(mini_catalogue, name)
    on_cpu, _ = load(variants, "cpu", "float32")
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS) as cuda:
        device, (loaded,) = load(variants, "cuda", "bfloat16")
        assert loaded.shape.device == "cuda"
        assert loaded.card.parity is not None
        assert loaded.card.parity.max_error < 0.1
        assert device.crew().num_threads == 2
        for lengths in LENGTHS:
            batch, before = batch_of(lengths), len(cuda.log)
            ours = device.forward(lane_of(name), batch)
            wanted = on_cpu.forward(lane_of(name), batch)
            assert np.abs(ours - wanted).max() <= 0.1 * np.abs(wanted).max()
            # Both copies go on by themselves: the batch's beside what computes, which waits for it, and the
            # answer's behind what computes; the host waits once, before it reads the answer.
            brought, waited, *answered = cuda.log[before:]
            stream = brought.removeprefix("copy on ")
            assert (stream != "default", waited) == (True, f"default waits for {stream}")
            assert answered == ["copy on default", "event on default", "event waited for"]
        assert cuda.num_pinned == 2  # one a thread
    assert cuda.modes == ["thread_local"] * len(BUCKETS)
    assert cuda.open_pools == 0


def test_batches_of_two_threads_do_not_touch_each_other(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS):
        device, _ = load(variants_of(mini_catalogue, "classify"), "cuda", "bfloat16")
        batches = [batch_of(lengths, seed) for seed, lengths in enumerate(LENGTHS)]
        wanted = [device.forward(lane_of("classify"), batch) for batch in batches]
        with ThreadPoolExecutor(2) as pool:
            seen = list(
                pool.map(
                    lambda index: device.forward(lane_of("classify"), batches[index % len(batches)]),
                    range(24),
                )
            )
    for index, output in enumerate(seen):
        assert np.array_equal(output, wanted[index % len(batches)])


def test_a_batch_is_brought_and_asked_for_while_another_runs(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS):
        device, _ = load(variants_of(mini_catalogue, "classify"), "cuda", "bfloat16")
        both = threading.Barrier(2, timeout=60.0)
        with monkeypatch.context() as slow:
            # Neither batch ends before both run.
            slow.setattr(torch.cuda.Event, "synchronize", lambda _: both.wait())
            with ThreadPoolExecutor(2) as pool:
                ends = [
                    pool.submit(device.forward, lane_of("classify"), batch_of([5, seed], seed))
                    for seed in (7, 9)
                ]
                assert all(np.isfinite(end.result()).all() for end in ends)


def test_a_variant_that_cannot_be_recorded_keeps_no_other_from_it(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag, classify = variants_of(mini_catalogue, "tag")[0], variants_of(mini_catalogue, "classify")[0]
    mixed = (replace(classify, dtype="float32"), replace(tag, dtype="bfloat16"))
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS) as cuda, structlog.testing.capture_logs() as logs:
        device, _ = load(mixed, "cuda", None)
        assert len(cuda.modes) == len(BUCKETS)
        for name in ("classify", "tag"):
            assert np.isfinite(device.forward(lane_of(name), batch_of([5, 9]))).all()
    events = [line["event"] for line in logs]
    assert events.count("varlen_attention_unavailable") == 1
    assert "graphs_unavailable" not in events


def test_a_recording_that_breaks_off_leaves_thread_and_allocator_usable(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS) as cuda:
        number, before = torch.ones(3), cuda.current_stream()
        with pytest.raises(RuntimeError):
            cuda_recorder()(lambda: number * number.tolist()[0])
        assert cuda.current_stream() is before
        torch.cuda.empty_cache()
        replay, output = cuda_recorder()(lambda: number + 1)
        number.fill_(5.0)
        replay()
        assert output.tolist() == [6.0] * 3
        assert cuda.open_pools == 0


def test_a_recording_that_fails_by_itself_leaves_them_usable_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_later() -> Callable[[], torch.Tensor]:
        runs = iter(range(9))

        def work() -> torch.Tensor:
            if next(runs) == 3:  # behind the warm-ups
                raise ValueError("no")
            return torch.ones(1) + 1

        return work

    with cuda_on_cpu(monkeypatch, buckets=BUCKETS) as cuda:
        before = cuda.current_stream()
        with pytest.raises(ValueError, match="no"):
            cuda_recorder()(fail_later())
        assert cuda.current_stream() is before
        assert cuda.open_pools == 0
        torch.cuda.empty_cache()


def test_without_the_kernel_the_log_says_why_and_batches_run_all_the_same(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cuda_on_cpu(monkeypatch, buckets=BUCKETS) as cuda, monkeypatch.context() as without:
        without.setattr(
            torch.ops.torch_attn,
            "_varlen_attn",
            lambda *_: (_ for _ in ()).throw(RuntimeError("no kernel image is available\nmore")),
        )
        with structlog.testing.capture_logs() as logs:
            device, (loaded,) = load(variants_of(mini_catalogue, "classify"), "cuda", "bfloat16")
        (line,) = [line for line in logs if line["event"] == "varlen_attention_unavailable"]
        assert line["reason"] == "it failed on a CPU that stands in: no kernel image is available"
        assert loaded.card.dtype == "bfloat16"
        assert not cuda.modes
        assert np.isfinite(device.forward(lane_of("classify"), batch_of([5, 9]))).all()


def test_a_wrong_answer_of_the_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_on_cpu(monkeypatch), monkeypatch.context() as wrong:
        wrong.setattr(torch.ops.torch_attn, "_varlen_attn", lambda *given: (given[0], None, None))
        choice = choose_attention(torch.device("cuda"), torch.bfloat16, head_size=64)
        assert choice.why_not_varlen is not None
        assert choice.why_not_varlen.startswith("it differed by ")


def test_memory_of_a_batch_that_does_not_fit_is_free_before_its_sequences_run_alone(
    mini_catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[torch.Tensor]] = []

    def fail(*_: Any, **__: Any) -> Any:
        large = torch.ones(3)
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError("CUDA out of memory")

    with cuda_on_cpu(monkeypatch, buckets=()) as cuda:
        device, _ = load(variants_of(mini_catalogue, "classify"), "cuda", "bfloat16")
        seen: list[bool] = []
        with monkeypatch.context() as broken:
            broken.setattr(CudaRunner, "_ask", fail)
            broken.setattr(torch.cuda, "empty_cache", lambda: seen.append(held[0]() is None))
            with pytest.raises(torch.OutOfMemoryError) as failure:
                device.forward(lane_of("classify"), batch_of([5]))
        assert seen == [True]
        assert "does not fit" not in str(failure.value)
        assert "synchronized" in cuda.log
        assert np.isfinite(device.forward(lane_of("classify"), batch_of([5]))).all()


def test_the_double_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    with cuda_on_cpu(monkeypatch):
        assert torch.cuda.is_available()
        assert torch.zeros(1, device=torch.device("cuda")).device.type == "cpu"
    assert not torch.cuda.is_available()
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(str(torch.zeros(1).device)))
    thread.start()
    thread.join()
    assert seen == ["cpu"]
    with pytest.raises((RuntimeError, AssertionError, NotImplementedError), match=r"CUDA|NVIDIA"):
        torch.zeros(1, device=torch.device("cuda"))
