"""What a warm-up measured, as cost models and token budgets.

Rules: a budget is put at the knee of its shape's throughput, within what was asked for; the log tells of
every shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from service.batching.cost import CostModel, knee

if TYPE_CHECKING:
    from service.batching.decisions import Limits
    from service.batching.scheduler import Scheduler
    from service.engine.contract import Warm

# What a sequence of XTREME-R's tasks has on average, to the nearest power of two: the length
# for which the budget is put at the knee.
_TYPICAL_TOKENS = 64
# XLM-R's longest sequence: a batch as long as that must run anyway, so that a smaller budget
# would shorten no wait; it keeps a warm-up on a noisy machine from choosing one.
_LEAST_BUDGET_TOKENS = 512


def calibrate(scheduler: Scheduler, warm: Warm, *, limits: Limits, calibrate_budget: bool) -> None:
    """Tell a scheduler what each shape's batches cost; ``calibrate_budget``: and how much they may hold."""
    log = structlog.get_logger()
    for shape, measurements in warm.measurements.items():
        model = CostModel.fit(measurements)
        budget = limits.max_batch_tokens
        if calibrate_budget and measurements:
            found = knee(model, typical_tokens=_TYPICAL_TOKENS)
            budget = min(budget, max(found, _LEAST_BUDGET_TOKENS))
        scheduler.calibrate(shape, model, max_batch_tokens=budget)
        log.info(
            "shape_calibrated",
            architecture=shape.architecture,
            dtype=shape.dtype,
            layer=shape.layer,
            device=shape.device,
            beside=shape.beside,
            max_batch_tokens=budget,
        )
        log.debug(
            "shape_measured",
            dtype=shape.dtype,
            layer=shape.layer,
            beside=shape.beside,
            batches=[
                (one.load.num_tokens, one.load.num_squares, round(one.seconds, 6)) for one in measurements
            ],
        )
