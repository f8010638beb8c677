"""GPU: NVML's readings from the service itself, and the finer ones of NVIDIA's exporter where it runs."""

from __future__ import annotations

from scripts.dashboards.frame import INSTANCE, JOB, Board, Row, Variable
from scripts.dashboards.panels import figure, series
from scripts.dashboards.queries import DCGM, largest, latest, ranged, rate, select, total

GPU = 'gpu=~"$gpu"'
_VARIABLES = (
    Variable(
        name="gpu",
        label="GPU",
        description="Devices of the chosen instances.",
        metric='xlmr_gpu_utilisation_ratio{job=~"$job", instance=~"$instance"}',
        value="gpu",
    ),
    Variable(
        name="dcgm_job",
        label="DCGM job",
        description="Scrape jobs of NVIDIA's exporter.",
        metric="DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        value="job",
    ),
    Variable(
        name="dcgm_instance",
        label="DCGM instance",
        description="NVIDIA's exporters.",
        metric='DCGM_FI_PROF_GR_ENGINE_ACTIVE{job=~"$dcgm_job"}',
        value="instance",
    ),
)


def gpu_board() -> Board:
    """Return the dashboard of the device."""
    return Board(
        uid="xlmr-gpu",
        title="XLM-R: GPU",
        description="What the device does while the service serves. Empty without a GPU; the last row "
        "needs NVIDIA's exporter (compose profile dcgm).",
        variables=(JOB, INSTANCE, *_VARIABLES),
        rows=(_glance(), _device(), _dcgm()),
    )


def _glance() -> Row:
    return Row(
        title="At a glance",
        panels=(
            figure(
                "Utilisation",
                "Mean over devices.",
                "percentunit",
                latest(_mean("xlmr_gpu_utilisation_ratio")),
                width=6,
            ),
            figure(
                "Memory used",
                "Of all devices, by every process on them.",
                "bytes",
                latest(total("xlmr_gpu_memory_used_bytes", where=GPU)),
                width=6,
            ),
            figure(
                "Power", "Of all devices.", "watt", latest(total("xlmr_gpu_power_watts", where=GPU)), width=6
            ),
            figure(
                "Tokens a joule",
                "Tokens given to the encoder over the energy of the devices.",
                "none",
                latest(f"{rate('xlmr_tokens_total')} / {total('xlmr_gpu_power_watts', where=GPU)}"),
                width=6,
            ),
        ),
    )


def _mean(gauge: str) -> str:
    return f"avg ({select(gauge, GPU)})"


def _device() -> Row:
    return Row(
        title="Device",
        panels=(
            series(
                "Utilisation",
                "Share of the time in which some kernel ran, by NVML; beside it the share in which the "
                "engine worked on a batch. A busy engine over an idle device waits for the host.",
                "percentunit",
                [
                    ranged(
                        largest("xlmr_gpu_utilisation_ratio", "instance, gpu", GPU),
                        "GPU {{gpu}} of {{instance}}",
                    ),
                    ranged(rate("xlmr_engine_busy_seconds_total", "instance"), "engine of {{instance}}"),
                ],
                at_most=1,
            ),
            series(
                "Memory used",
                "By every process on the device.",
                "bytes",
                [
                    ranged(
                        largest("xlmr_gpu_memory_used_bytes", "instance, gpu", GPU),
                        "GPU {{gpu}} of {{instance}}",
                    )
                ],
            ),
            series(
                "Power",
                "Drawn by the device.",
                "watt",
                [
                    ranged(
                        largest("xlmr_gpu_power_watts", "instance, gpu", GPU), "GPU {{gpu}} of {{instance}}"
                    )
                ],
            ),
        ),
    )


def _dcgm() -> Row:
    return Row(
        title="Inside the device (DCGM)",
        panels=(
            series(
                "Engine active",
                "Share of the time in which the graphics or compute engine was active; it works under MIG "
                "too.",
                "percentunit",
                [ranged(largest("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gpu", target=DCGM), "GPU {{gpu}}")],
                at_most=1,
            ),
            series(
                "Tensor cores active",
                "Share of cycles in which the tensor pipe worked: low in float32, high in a full "
                "half-precision batch.",
                "percentunit",
                [ranged(largest("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", "gpu", target=DCGM), "GPU {{gpu}}")],
                at_most=1,
            ),
            series(
                "Memory bandwidth active",
                "Share of cycles in which device memory moved data: high here and low beside it means "
                "small batches.",
                "percentunit",
                [ranged(largest("DCGM_FI_PROF_DRAM_ACTIVE", "gpu", target=DCGM), "GPU {{gpu}}")],
                at_most=1,
            ),
        ),
    )
