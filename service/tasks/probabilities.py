"""Logits into probabilities.

Rules: computed in float64 from the logits of one input, so that the answer depends on
nothing else; logits that are not finite are the engine's failure, never an answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.errors import EngineError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_finite(logits: NDArray[np.float32]) -> None:
    """Refuse to answer from NaN or infinity.

    Raises:
        EngineError: a logit is not finite.
    """
    if not np.isfinite(logits).all():
        raise EngineError(
            "The model gave a result that is not a number; the weights or the device are at fault."
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return probabilities over the last axis, same shape.

    Raises:
        EngineError: a logit is not finite.
    """
    check_finite(logits)
    wide = logits.astype(np.float64)
    exponentials: NDArray[np.float64] = np.exp(wide - wide.max(axis=-1, keepdims=True))
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def logistic(logit: np.float32) -> float:
    """Return the probability of a lone logit.

    Raises:
        EngineError: it is not finite.
    """
    check_finite(np.asarray(logit))
    return float(0.5 * (1.0 + np.tanh(0.5 * np.float64(logit))))
