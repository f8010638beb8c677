"""The engine on a GPU beside the best matrix product of the same run; `make bench-gpu`.

    python benchmarks/bench_gpu.py [--sizes base,large] [--repeats 5] [--budget-s 480] [--out DIR]

Measures in bfloat16, interleaved: square products; the packed forward at 1k to 65k tokens a batch on
XTREME-R's lengths, as a share of the best product (model FLOP utilisation), and its linear maps and attention
alone; batches from host to host with and without recorded graphs; and what clients are served beside what the
engine gives offline. Writes gpu.md and gpu.json into docs/benchmarks again after every part, so that nothing
is lost: a part that fails is named there, and what would begin after the budget is left out. Ends with 1
where a part failed, with 2 where there is no CUDA device.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import structlog
import torch
from rich.console import Console

from benchmarks.gpu_parts import FEW, Bench, Sizes, products, served
from benchmarks.gpu_report import Sample, Samples, page, verdicts_of
from loadtest.driver.environment import describe_environment
from models.synthetic import Size
from service.engine.graphs import cuda_recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parents[1]
_USAGE = 2


@dataclass(kw_only=True)
class Run:
    """One run: what it has measured so far, and where that is written."""

    sizes: tuple[Size, ...]
    counts: Sizes
    repeats: int
    budget_s: float
    out: Path
    console: Console
    environment: dict[str, Any]
    few: bool = False
    samples: list[Sample] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    varlen_unavailable: dict[str, str | None] = field(default_factory=dict)
    failed: bool = False
    began: float = field(default_factory=time.monotonic)

    def took_s(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self.began

    def part(self, name: str, work: Callable[[], object]) -> bool:
        """Do a part, unless the time is over; whether it was done. What it gave is written in any case."""
        if self.took_s() > self.budget_s:
            self.missing.append(f"{name}: not begun within {self.budget_s:g} s")
            return False
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever a device says, the other parts go on
            reason = (str(error).splitlines() or [""])[0]
            self.missing.append(f"{name}: {type(error).__name__}: {reason}")
            self.failed = True
            self.tell(f"{name} FAILED: {type(error).__name__}: {reason}")
            del error
            with contextlib.suppress(RuntimeError):
                torch.cuda.empty_cache()
            return False
        finally:
            self.write()
        return True

    def measure(
        self, size: str, part: str, tokens: int | None, repeat: int, work: Callable[[], dict[str, float]]
    ) -> None:
        """Measure one thing once."""
        name = " ".join(
            filter(None, (size, part, "" if tokens is None else f"{tokens:,} tokens", f"repeat {repeat}"))
        )

        def measured() -> None:
            self.hear(Sample(size=size, part=part, tokens=tokens, repeat=repeat, values=work()))

        self.part(name, measured)

    def hear(self, sample: Sample) -> None:
        """Keep a measurement and tell of it."""
        self.samples.append(sample)
        values = ", ".join(f"{name} {value:.4g}" for name, value in sample.values.items())
        tokens = "" if sample.tokens is None else f" {sample.tokens:,} tokens"
        self.tell(f"{sample.repeat}: {sample.size} {sample.part}{tokens}: {values}")

    def tell(self, line: str) -> None:
        """Print a line of progress."""
        self.console.print(f"[{self.took_s():4.0f} s] {line}", markup=False, highlight=False, soft_wrap=True)

    def record(self) -> dict[str, Any]:
        """Return everything that was seen so far, as plain values."""
        names = [size.value for size in self.sizes]
        counts = self.counts
        return {
            "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "took_s": self.took_s(),
            "few": self.few,
            "repeats": self.repeats,
            "num_clients": counts.num_clients,
            "num_together": counts.num_together,
            "counts": asdict(counts),
            "varlen_unavailable": self.varlen_unavailable,
            "verdicts": verdicts_of(
                Samples(given=tuple(self.samples)),
                names,
                goal_tokens=counts.goal_tokens,
                num_clients=counts.num_clients,
            ),
            "missing": self.missing,
            **self.environment,
            "samples": [asdict(sample) for sample in self.samples],
        }

    def write(self) -> None:
        """Write what was seen so far."""
        record = self.record()
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "gpu.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        (self.out / "gpu.md").write_text(page(record), encoding="utf-8")


def measure_all(run: Run, models: Path, device: torch.device) -> None:
    """Load every size, then measure; clients after the first repeat, so that no goal waits for the last."""
    benches: dict[str, Bench] = {}
    for size in run.sizes:
        run.part(f"{size.value} loading", partial(_load, run, benches, size, models / size.value, device))
    for repeat in range(run.repeats):
        run.measure("", "product", None, repeat, partial(products, run.counts, device))
        for name, bench in benches.items():
            _measure_once(run, name, bench, repeat)
        if repeat == 0:
            for name, bench in benches.items():
                run.part(f"{name} served", partial(_serve, run, name, bench, device))


def _load(run: Run, benches: dict[str, Bench], size: Size, folder: Path, device: torch.device) -> None:
    run.tell(f"{size.value}: loading")
    bench = Bench(folder, size, run.counts, device)
    benches[size.value] = bench
    run.varlen_unavailable[size.value] = bench.why_not_varlen
    if device.type == "cuda" and bench.why_not_varlen is None:
        taken = bench.record(cuda_recorder())
        run.hear(Sample(size=size.value, part="recording", tokens=None, repeat=0, values={"seconds": taken}))


def _measure_once(run: Run, size: str, bench: Bench, repeat: int) -> None:
    counts = run.counts
    for tokens in counts.budgets:
        run.measure(size, "forward", tokens, repeat, partial(bench.forward, tokens))
    for part, work in (("linears", bench.linears), ("attention", bench.attention)):
        run.measure(size, part, counts.goal_tokens, repeat, partial(work, counts.goal_tokens))
    for tokens in counts.small_budgets:
        run.measure(size, "plain", tokens, repeat, partial(bench.host_to_host, tokens, recorded=False))
        if bench.has_recordings:
            run.measure(size, "recorded", tokens, repeat, partial(bench.host_to_host, tokens, recorded=True))


def _serve(run: Run, size: str, bench: Bench, device: torch.device) -> None:
    def hear(repeat: int, values: dict[str, float]) -> None:
        run.hear(Sample(size=size, part="served", tokens=None, repeat=repeat, values=values))

    served(bench.variant, run.counts, device, bench.vocab_size, hear)


def main(given: Sequence[str] | None = None, *, device: torch.device | None = None) -> int:
    """Measure, print, write. ``device``: another than the first CUDA device, to try the parts out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", default="base,large")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--budget-s", type=float, default=480.0, help="nothing begins after so many seconds")
    parser.add_argument("--commit", help="the commit to write down, where the sources lie without git")
    parser.add_argument("--few", action="store_true", help="few tokens and clients: whether the parts run")
    parser.add_argument("--models", type=Path, default=ROOT / "var" / "benchmarks")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks")
    arguments, console = parser.parse_args(given), Console(width=150)
    if device is None and not torch.cuda.is_available():
        console.print("There is no CUDA device here; run this where there is one.")
        return _USAGE
    run = Run(
        sizes=tuple(Size(name) for name in arguments.sizes.split(",")),
        counts=FEW if arguments.few else Sizes(),
        repeats=arguments.repeats,
        budget_s=arguments.budget_s,
        out=arguments.out,
        console=console,
        environment=_environment(arguments.commit),
        few=arguments.few,
    )
    # A line for each batch, which only debugging wants, would be what is measured.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with torch.inference_mode():
        measure_all(run, arguments.models, device or torch.device("cuda"))
    run.write()
    console.print(page(run.record()), markup=False, highlight=False, soft_wrap=True)
    return 1 if run.failed else 0


def _environment(commit: str | None) -> dict[str, Any]:
    has_cuda = torch.cuda.is_available()
    seen = {key: value for key, value in describe_environment().items() if key != "host"}
    return {
        "device": torch.cuda.get_device_name() if has_cuda else "no CUDA device",
        "capability": list(torch.cuda.get_device_capability()) if has_cuda else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "environment": seen | ({} if commit is None else {"commit": commit}),
    }


if __name__ == "__main__":
    sys.exit(main())
