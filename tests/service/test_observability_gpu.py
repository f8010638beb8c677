"""GPU gauges, from an NVML in the hands of a test and, where there is one, from the real one."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from service.observability.gpu import open_gpus

NAMES = ("xlmr_gpu_utilisation_ratio", "xlmr_gpu_memory_used_bytes", "xlmr_gpu_power_watts")


class FakeError(Exception):
    """What NVML raises."""


def nvml(devices: list[dict[str, int]], *, starts: bool = True) -> Any:
    """Return NVML as pynvml has it, on devices with these readings; one that is missing is refused."""

    def init() -> None:
        if not starts:
            raise FakeError

    def read(device: dict[str, int], key: str) -> int:
        if key not in device:
            raise FakeError
        return device[key]

    return SimpleNamespace(
        NVMLError=FakeError,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: len(devices),
        nvmlDeviceGetHandleByIndex=lambda index: devices[index],
        nvmlDeviceGetUtilizationRates=lambda device: SimpleNamespace(gpu=read(device, "percent"), memory=0),
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(used=read(device, "bytes")),
        nvmlDeviceGetPowerUsage=lambda device: read(device, "milliwatts"),
    )


def registry_of(library: Any) -> CollectorRegistry:
    found = open_gpus(lambda: library)
    assert found is not None
    registry = CollectorRegistry()
    registry.register(found)
    return registry


def test_each_device_has_its_readings_in_base_units() -> None:
    devices = [
        {"percent": 40, "bytes": 3 * 2**30, "milliwatts": 215_500},
        {"percent": 0, "bytes": 2**20, "milliwatts": 30_000},
    ]
    registry = registry_of(nvml(devices))
    found = [[registry.get_sample_value(name, {"gpu": gpu}) for name in NAMES] for gpu in ("0", "1")]
    assert found == [[0.4, 3221225472.0, 215.5], [0.0, 1048576.0, 30.0]]
    devices[0]["percent"] = 100
    assert registry.get_sample_value(NAMES[0], {"gpu": "0"}) == 1.0


def test_a_reading_that_is_refused_is_left_out() -> None:
    registry = registry_of(nvml([{"bytes": 5}, {"percent": 7}]))
    assert registry.get_sample_value(NAMES[0], {"gpu": "0"}) is None
    assert registry.get_sample_value(NAMES[1], {"gpu": "0"}) == 5.0
    assert registry.get_sample_value(NAMES[0], {"gpu": "1"}) == 0.07


def test_a_driver_that_went_away_leaves_a_scrape_well() -> None:
    library = nvml([{"percent": 1}])

    def gone() -> int:
        raise FakeError

    registry = registry_of(library)
    library.nvmlDeviceGetCount = gone
    assert registry.get_sample_value(NAMES[0], {"gpu": "0"}) is None


def test_without_library_or_driver_there_are_no_such_metrics() -> None:
    assert open_gpus(lambda: importlib.import_module("no_such_module")) is None
    assert open_gpus(lambda: nvml([], starts=False)) is None


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here; it comes with Debian's package prometheus")
    body = generate_latest(registry_of(nvml([{"percent": 1, "bytes": 2, "milliwatts": 3}])))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@pytest.mark.gpu
def test_the_real_driver_says_what_its_own_program_says() -> None:
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no NVIDIA driver here")
    pytest.importorskip("fastapi", reason="what makes the service is not installed here")
    from service.app import import_nvml  # noqa: PLC0415 - a bare machine with a GPU runs the other tests

    registry = registry_of(import_nvml())
    command = [program, "--query-gpu=power.draw,memory.used", "--format=csv,noheader,nounits"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    for index, line in enumerate(told.strip().splitlines()):
        watts, mebibytes = (float(value) for value in line.split(","))
        labels = {"gpu": str(index)}
        assert registry.get_sample_value(NAMES[2], labels) == pytest.approx(watts, rel=0.5)
        used = registry.get_sample_value(NAMES[1], labels)
        assert used is not None
        # The program leaves out what the driver itself reserves, up to about a gibibyte.
        assert 0.0 <= used / 2**20 - mebibytes + 64 < 1024 + 64
        ratio = registry.get_sample_value(NAMES[0], labels)
        assert ratio is not None
        assert 0.0 <= ratio <= 1.0
