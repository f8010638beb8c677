"""A real Prometheus for a session, and a service and load runs that it has watched."""

from __future__ import annotations

import logging
import shutil
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import structlog

from loadtest.trace.samples import read_samples
from tests.observability.programs import (
    COUNTED,
    TASKS,
    ServiceProcess,
    build_trace,
    run_program,
    service_process,
    write_arm,
)
from tests.observability.prometheus_server import Prometheus, prometheus_server
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import polars as pl

ARMS = {"english-intermediate": "en-mnli", "multilingual-intermediate": "multi-tlm"}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A healthy service that was asked by two load runs, one an arm, while Prometheus looked on.

    ``samples``: of both runs, by arm. ``began_s``, ``ended_s``: seconds of the epoch.
    """

    prometheus: Prometheus
    service: ServiceProcess
    catalogue: Path
    samples: dict[str, pl.DataFrame]
    began_s: float
    ended_s: float


@pytest.fixture
def quiet_log() -> Iterator[None]:
    """No log lines from services inside the test's process: their tracebacks would slow every one of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[Watched]:
    executable = shutil.which("prometheus")
    if executable is None:
        pytest.skip("no prometheus here; Debian's package of that name brings it")
    folder = tmp_path_factory.mktemp("watched")
    plan = project_root / "examples" / "demo" / "plan.toml"
    run_program("models", "synth", "--plan", str(plan), "--out", str(folder / "models"))
    trace = build_trace(folder / "trace")
    variants = [f"{prefix}.{task}" for prefix in ARMS.values() for task in TASKS]
    catalogue = folder / "models" / "catalogue.toml"
    with (
        service_process(catalogue, variants, folder) as service,
        prometheus_server(executable, folder / "prometheus", **{"xlmr-serve": service.address}) as prometheus,
    ):
        prometheus.wait_for('up{job="xlmr-serve"}', 1)
        prometheus.load_rules()
        began_s, samples = time.time(), {}
        for name, prefix in ARMS.items():
            arm, port = write_arm(folder / f"{name}.toml", name, prefix), free_port()
            prometheus.set_targets("xlmr-load", f"127.0.0.1:{port}")
            options = ["--trace", str(trace), "--target", service.url, "--arm", str(arm)]
            options += ["--out", str(folder / name), "--metrics-port", str(port)]
            run_program("loadtest", "run", *options, good=COUNTED)
            samples[name] = read_samples(folder / name)
        # A reading of a catalogue that says what it said before is no fault.
        service.process.send_signal(signal.SIGHUP)
        yield Watched(
            prometheus=prometheus,
            service=service,
            catalogue=catalogue,
            samples=samples,
            began_s=began_s,
            ended_s=time.time(),
        )
