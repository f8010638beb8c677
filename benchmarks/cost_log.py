"""What a service's log tells of its batches, and what the cost model says of them when it is asked again.

Rules: a batch is predicted as it began and learnt from as it ended, in the order in which that happened, so
that a change to the model is judged on what was once served, and needs no machine; pure.
"""

from __future__ import annotations

import json
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from service.batching.cost import CostModel, Load, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that ran. ``ended_at``: Unix time; ``beside``, ``crowded``: as a dispatch has them."""

    ended_at: float
    beside: bool
    crowded: bool
    num_tokens: int
    num_squares: int
    predicted_s: float
    engine_s: float

    @property
    def error(self) -> float:
        """The relative error of its prediction."""
        return abs(self.predicted_s / self.engine_s - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """All of one service: what warm-up ``measured``, by ``beside``, and batches in order of their ends."""

    measured: Mapping[bool, Sequence[Measurement]]
    batches: Sequence[Batch]


def read_log(lines: Iterable[str]) -> Served:
    """Pick out of a log of level debug, one JSON object a line, what it tells of batches."""
    measured: dict[bool, list[Measurement]] = {}
    batches = []
    for line in lines:
        event = _event(line)
        if event.get("event") == "shape_measured":
            measured[event["beside"]] = [
                Measurement(load=Load(num_tokens=tokens, num_squares=squares), seconds=seconds)
                for tokens, squares, seconds in event["batches"]
            ]
        elif event.get("event") == "batch_ran" and not event["failed"]:
            batches.append(_batch(event))
    return Served(measured=measured, batches=sorted(batches, key=lambda batch: batch.ended_at))


def as_values(served: Served) -> dict[str, Any]:
    """Return plain values, of which ``of_values`` makes the same again."""
    measured = {
        str(beside): [(one.load.num_tokens, one.load.num_squares, one.seconds) for one in found]
        for beside, found in served.measured.items()
    }
    names = [field.name for field in fields(Batch)]
    return {"measured": measured, "fields": names, "batches": [astuple(batch) for batch in served.batches]}


def of_values(values: Mapping[str, Any]) -> Served:
    """Return what ``as_values`` was given."""
    measured = {
        beside == str(True): [
            Measurement(load=Load(num_tokens=tokens, num_squares=squares), seconds=seconds)
            for tokens, squares, seconds in found
        ]
        for beside, found in values["measured"].items()
    }
    batches = [Batch(**dict(zip(values["fields"], batch, strict=True))) for batch in values["batches"]]
    return Served(measured=measured, batches=batches)


def replay(served: Served) -> list[float]:
    """Return what the present model would have predicted of each batch, in seconds."""
    models = {beside: CostModel.fit(measured) for beside, measured in served.measured.items()}
    moments = [(batch.ended_at - batch.engine_s, 1, index) for index, batch in enumerate(served.batches)]
    moments += [(batch.ended_at, 0, index) for index, batch in enumerate(served.batches)]
    predicted = [0.0] * len(served.batches)
    for _, begins, index in sorted(moments):
        batch = served.batches[index]
        load = Load(num_tokens=batch.num_tokens, num_squares=batch.num_squares)
        model = models.get(batch.beside, CostModel.unfitted())
        if begins:
            predicted[index] = model.predict(load, crowded=batch.crowded)
        else:
            measurement = Measurement(load=load, seconds=batch.engine_s, crowded=batch.crowded)
            models[batch.beside] = model.refine(measurement, predicted_s=predicted[index])
    return predicted


def _event(line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _batch(event: Mapping[str, Any]) -> Batch:
    return Batch(
        ended_at=datetime.fromisoformat(event["timestamp"]).timestamp(),
        beside=event["beside"],
        crowded=event["crowded"],
        num_tokens=event["tokens"],
        num_squares=event["squares"],
        predicted_s=event["predicted_s"],
        engine_s=event["engine_s"],
    )
