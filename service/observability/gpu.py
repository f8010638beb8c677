"""What the driver says of the GPUs, read by NVML when somebody scrapes.

Rules: where there is no driver, no GPU or no library for it, there are no such metrics; a reading
that a device refuses is left out, not set to zero. All devices that the driver shows are told, with
whatever runs on them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from prometheus_client import Metric

_PERCENT = 100.0
_MW_PER_W = 1000.0


class GpuCollector(Collector):
    """Reads every device anew at each scrape."""

    def __init__(self, nvml: Any) -> None:
        """Read by ``nvml``, a module such as pynvml, which has been initialised."""
        self._nvml = nvml

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge a device and reading."""
        nvml = self._nvml
        yield self._gauge(
            "xlmr_gpu_utilisation_ratio",
            "Share of the last moments in which some kernel ran.",
            lambda device: nvml.nvmlDeviceGetUtilizationRates(device).gpu / _PERCENT,
        )
        yield self._gauge(
            "xlmr_gpu_memory_used_bytes",
            "Device memory in use, by whatever process.",
            lambda device: nvml.nvmlDeviceGetMemoryInfo(device).used,
        )
        yield self._gauge(
            "xlmr_gpu_power_watts",
            "Power that the device draws.",
            lambda device: nvml.nvmlDeviceGetPowerUsage(device) / _MW_PER_W,
        )

    def _gauge(self, name: str, said: str, read: Callable[[Any], float]) -> Metric:
        family = GaugeMetricFamily(name, said, labels=["gpu"])
        with suppress(self._nvml.NVMLError):  # the driver is gone, or being replaced
            for index in range(self._nvml.nvmlDeviceGetCount()):
                with suppress(self._nvml.NVMLError):  # not every device knows every reading
                    family.add_metric([str(index)], float(read(self._nvml.nvmlDeviceGetHandleByIndex(index))))
        return family


def open_gpus(import_nvml: Callable[[], ModuleType]) -> GpuCollector | None:
    """Return a collector where the driver answers; None where there is none to ask."""
    try:
        nvml = import_nvml()
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return GpuCollector(nvml)
