"""Metrics of the service that dashboards and alerts already read, and that it does not export.

Found by looking, so that a metric leaves this list, and its panels and alerts are held to data, on
the day that it is exported.
"""

from __future__ import annotations

from tests.deploy.metric_names import DESIGNED, exported_metrics

# Of the process, its supervisor, the GPU's driver, the load tester, NVIDIA's exporter and Prometheus itself;
# scripts are counted where that is asked for, as it is here.
_OF_OTHERS = (
    "process_",
    "up",
    "xlmr_process_",
    "xlmr_inputs_by_script",
    "xlmr_gpu_",
    "xlmr_load_",
    "DCGM_",
    "ALERTS",
)

_EXPORTED = {metric.name for metric in exported_metrics()}
NOT_EXPORTED = tuple(
    metric for metric in DESIGNED if metric.name not in _EXPORTED and not metric.name.startswith(_OF_OTHERS)
)
