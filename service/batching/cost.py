"""How long a batch takes: t = c0 + c1 * sum(L) + c2 * sum(L^2), in seconds.

c0 is the price of starting a batch, c1 that of a token in the linear layers, c2 that of a
pair of tokens in attention; none of them can be negative. Errors are relative: to be ten
milliseconds wrong matters on a batch of twenty and not on one of a thousand. Warm-up
measurements fit the model; every batch after that refines it by least squares in which
older batches fade, yet never below a trace of the warm-up, so that a day of equal batches
does not unlearn what unequal ones cost. Beside the coefficients a factor follows what the machine does at
present (``level.py``), one for batches that begin while others run and one for the rest: on two cores the
former took 1.3 times as long. Everything is a value: refining gives a new model.

Source: recursive least squares in information form (Ljung, System Identification, 1999,
chapter 11), with forgetting towards a fixed belief (Kulhavy and Zarrop, 1993).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from service.batching.least_squares import nonnegative
from service.batching.level import Level

if TYPE_CHECKING:
    from collections.abc import Sequence as Many


# A batch counts e times less after 50 others; at tens of batches a second that follows a
# machine whose clock or neighbours change within seconds, and still averages out noise.
FADE: Final = 0.98
# How many measurements the warm-up keeps counting for, however many batches came after it: one
# in a hundred of what is remembered (1 / (1 - FADE)), so that of a machine that became twice as slow
# the batches that it runs are predicted to within two per cent.
ANCHOR_MEASUREMENTS: Final = 0.5
# Batches from which on coefficients are solved for at every fourth only: one in a hundred moves them little,
# the level follows what changes at once, and solving is most of what refining costs. The errors are the same.
SETTLED: Final = 100
SOLVE_EVERY: Final = 4
# Relative errors kept for the statistics: the latest ones, enough for a 90th percentile.
KEPT_ERRORS: Final = 256
# Below so many a 90th percentile rests on fewer than five batches, and says nothing of a shape.
LEAST_ERRORS: Final = 50
# Throughput from which a larger batch buys too little (the knee).
KNEE_RATIO: Final = 0.95
BUDGET_GRID: Final = tuple(2**power for power in range(6, 17))
_NUM_TERMS: Final = 3
_FRESH: Final = 1.0 - FADE

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]
_ZEROS: Final[Matrix] = ((0.0,) * _NUM_TERMS,) * _NUM_TERMS


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What decides the time of a batch besides its lengths; variants of one shape share a model.

    ``layer``: the layer after which the encoder stops, 1-based. ``beside``: whether one of several replicas
    runs it, with others beside it; else it has the whole device.
    """

    architecture: str
    dtype: str
    layer: int
    device: str
    beside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What of a batch costs time: batches, tokens, and the sum of squared lengths."""

    num_batches: int = 1
    num_tokens: int
    num_squares: int

    @classmethod
    def of(cls, lengths: Many[int]) -> Self:
        """Sum one batch of sequences of these lengths (tokens)."""
        return cls(num_tokens=sum(lengths), num_squares=sum(length * length for length in lengths))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One batch, and the seconds that it took on the engine. ``crowded``: whether others ran as it began."""

    load: Load
    seconds: float
    crowded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CostModel:
    """What is known of one shape; start with ``fit``, or with ``unfitted``.

    ``coefficients``: c0, c1, c2, seconds; ``alone``, ``crowded``: what batches take at present, over what
    these say. ``errors``: the latest relative errors ``|predicted - measured| / measured``, each of a
    prediction made before its batch ran.
    """

    coefficients: tuple[float, float, float]
    num_measurements: int
    errors: tuple[float, ...]
    alone: Level
    crowded: Level
    # Plain numbers: refining runs for every batch, on the event loop, and arrays of three cost more to make.
    _information: Matrix
    _target: Vector
    _anchor_information: Matrix
    _anchor_target: Vector

    @classmethod
    def unfitted(cls) -> Self:
        """Return the model that knows nothing: it predicts zero seconds until refined."""
        return cls(
            coefficients=(0.0, 0.0, 0.0),
            num_measurements=0,
            errors=(),
            alone=Level(),
            crowded=Level(),
            _information=_ZEROS,
            _target=(0.0,) * _NUM_TERMS,
            _anchor_information=_ZEROS,
            _anchor_target=(0.0,) * _NUM_TERMS,
        )

    @classmethod
    def fit(cls, measurements: Many[Measurement]) -> Self:
        """Fit warm-up measurements, all of them counting alike, by relative error."""
        model = cls.unfitted()
        if not measurements:
            return model
        rows = np.array([_row(measurement) for measurement in measurements])
        information = tuple(map(tuple, (rows.T @ rows).tolist()))
        target = tuple(rows.sum(axis=0).tolist())
        share = min(1.0, ANCHOR_MEASUREMENTS / len(measurements))
        return replace(
            model,
            coefficients=_solve(information, target),
            num_measurements=len(measurements),
            _information=information,
            _target=target,
            _anchor_information=_scaled_matrix(share, information),
            _anchor_target=tuple(share * term for term in target),
        )

    def scaled(self, factor: float) -> Self:
        """Return the model of something that takes ``factor`` times as long, as if it had been measured."""
        assert factor > 0.0, "A cost was scaled to nothing. This is a bug."
        start_s, token_s, square_s = self.coefficients
        return replace(
            self,
            coefficients=(factor * start_s, factor * token_s, factor * square_s),
            errors=(),
            # Terms stand over the measured time, which is now longer.
            _information=_scaled_matrix(factor**-2, self._information),
            _target=tuple(term / factor for term in self._target),
            _anchor_information=_scaled_matrix(factor**-2, self._anchor_information),
            _anchor_target=tuple(term / factor for term in self._anchor_target),
        )

    def predict(self, load: Load, *, crowded: bool = False) -> float:
        """Return the seconds that this load takes, batch after batch; ``crowded``: while others run."""
        return self._level(crowded=crowded).factor * self._usual_s(load)

    def refine(self, measurement: Measurement, *, predicted_s: float | None = None) -> Self:
        """Return the model that has also seen this batch.

        ``predicted_s``: what was predicted of it; None for what this model predicts.
        """
        level = self._level(crowded=measurement.crowded)
        if self.num_measurements:
            level = level.eased().after(measurement.seconds / self._usual_s(measurement.load))
        # The coefficients learn what the level does not explain, as it was before this batch.
        factor = self._level(crowded=measurement.crowded).factor
        one, tokens, squares = (factor * term for term in _row(measurement))
        information = tuple(
            _faded(olds, anchors, (mine * one, mine * tokens, mine * squares))
            for olds, anchors, mine in zip(
                self._information, self._anchor_information, (one, tokens, squares), strict=True
            )
        )
        target = _faded(self._target, self._anchor_target, (one, tokens, squares))
        num_measurements = self.num_measurements + 1
        is_due = num_measurements <= SETTLED or num_measurements % SOLVE_EVERY == 0
        return replace(
            self,
            coefficients=_solve(information, target) if is_due else self.coefficients,
            num_measurements=num_measurements,
            errors=self._errors_after(measurement, predicted_s),
            alone=self.alone if measurement.crowded else level,
            crowded=level if measurement.crowded else self.crowded,
            _information=information,
            _target=target,
        )

    @property
    def error_p90(self) -> float | None:
        """The 90th percentile of the latest relative errors; None before there are enough of them."""
        if len(self.errors) < LEAST_ERRORS:
            return None
        return float(np.quantile(self.errors, 0.9, method="inverted_cdf"))

    def _errors_after(self, measurement: Measurement, predicted_s: float | None) -> tuple[float, ...]:
        if predicted_s is None:
            predicted_s = self.predict(measurement.load, crowded=measurement.crowded)
        if not predicted_s:
            return self.errors
        return (*self.errors[-(KEPT_ERRORS - 1) :], abs(predicted_s / measurement.seconds - 1.0))

    def _level(self, *, crowded: bool) -> Level:
        return self.crowded if crowded else self.alone

    def _usual_s(self, load: Load) -> float:
        """Return what the coefficients say."""
        start_s, token_s, square_s = self.coefficients
        return start_s * load.num_batches + token_s * load.num_tokens + square_s * load.num_squares


def knee(model: CostModel, *, typical_tokens: int, grid: Many[int] = BUDGET_GRID) -> int:
    """Return the smallest budget that reaches 95 % of the grid's best tokens a second.

    ``typical_tokens``: the length of the sequences that fill a batch. ``grid``: budgets in
    tokens; one that holds no whole sequence counts as a batch of one sequence alone.
    """
    speeds = {budget: _tokens_per_s(model, budget, typical_tokens) for budget in sorted(grid)}
    enough = KNEE_RATIO * max(speeds.values())
    return next(budget for budget, speed in speeds.items() if speed >= enough)


def _tokens_per_s(model: CostModel, budget: int, length: int) -> float:
    count = max(1, budget // length)
    seconds = model.predict(Load(num_tokens=count * length, num_squares=count * length * length))
    assert seconds > 0.0, "A knee was asked of a model that was never fitted. This is a bug."
    return count * length / seconds


def _row(measurement: Measurement) -> Vector:
    """Return the terms over the measured time, so that a perfect model sums to 1: ``[3]``."""
    load, seconds = measurement.load, measurement.seconds
    assert seconds > 0.0, "A batch took no time. This is a bug."
    return load.num_batches / seconds, load.num_tokens / seconds, load.num_squares / seconds


def _faded(old: Vector, anchor: Vector, new: Vector) -> Vector:
    """Return three sums with a new term each; written out, since it runs four times for every batch."""
    return (
        FADE * old[0] + _FRESH * anchor[0] + new[0],
        FADE * old[1] + _FRESH * anchor[1] + new[1],
        FADE * old[2] + _FRESH * anchor[2] + new[2],
    )


def _scaled_matrix(factor: float, matrix: Matrix) -> Matrix:
    return tuple(tuple(factor * value for value in row) for row in matrix)


def _solve(information: Matrix, target: Vector) -> tuple[float, float, float]:
    """Minimise the squared relative error over coefficients that are not negative."""
    start_s, token_s, square_s = nonnegative(information, target)
    return start_s, token_s, square_s
