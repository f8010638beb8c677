"""Whether an answer given under load is the answer that the unloaded server gave for the same item.

Rules: two answers are equal when they name the same discrete answer, or when the unloaded one was a tie
(its margin to the runner-up lies within the tolerance), and when their numbers agree within the tolerance.
A number agrees when ``|a - b| <= tolerance * max(1, |a|)``: small ones absolutely, large ones relatively.
Of an n-best list only the best is compared: its tail may swap among near ties.

A tag comes without its runner-up. A word whose tag changed is excused only where a tie is possible and the
numbers say so: both scores agree and neither exceeds one half by more than the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.analysis.scoring.score import Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far numbers may lie apart (``number``), and how small a lead is a tie (``margin``)."""

    number: float = 1e-4
    margin: float = 1e-4

    @classmethod
    def for_dtype(cls, dtype: str | None) -> Tolerance:
        """Return the stated bound of a dtype; int8: two steps of a symmetric 8-bit scale, 2 / 127."""
        return cls(number=2 / 127, margin=2 / 127) if dtype == "int8" else cls()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How many answers under load equal the unloaded ones.

    ``largest_difference`` is over the finite numbers of answers that decide the same; 0 without any.
    """

    n_compared: int
    n_without_reference: int
    mismatched: tuple[str, ...]
    largest_difference: float

    @property
    def mismatch_rate(self) -> float | None:
        """Mismatched answers over compared ones; None where none was compared."""
        return len(self.mismatched) / self.n_compared if self.n_compared else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """An answer as what it decides and the numbers that it rests on."""

    decision: object
    numbers: NDArray[np.float64]
    margin: float = np.inf
    word_tags: tuple[str, ...] | None = None


def agreement(
    unloaded: Mapping[str, Answer], loaded: Iterable[tuple[str, Answer]], tolerance: Tolerance | None = None
) -> Agreement:
    """Compare every (item id, answer) given under load with the unloaded answer of the same item.

    An item may be answered many times; each answer counts. ``mismatched`` names an item once for each.
    """
    bound = tolerance or Tolerance()
    compared, missing, worst, mismatched = 0, 0, 0.0, []
    for item, answer in loaded:
        if item not in unloaded:
            missing += 1
            continue
        compared += 1
        before, after = _read(unloaded[item]), _read(answer)
        if before.decision == after.decision and before.numbers.shape == after.numbers.shape:
            difference = _difference(before.numbers, after.numbers)
            worst = max(worst, difference if np.isfinite(difference) else 0.0)
        if not _are_equal(before, after, bound):
            mismatched.append(item)
    return Agreement(
        n_compared=compared,
        n_without_reference=missing,
        mismatched=tuple(mismatched),
        largest_difference=worst,
    )


def is_same_answer(unloaded: Answer, loaded: Answer, tolerance: Tolerance | None = None) -> bool:
    """Tell whether ``loaded`` equals ``unloaded`` in the sense of this file."""
    return _are_equal(_read(unloaded), _read(loaded), tolerance or Tolerance())


def _are_equal(before: _Reading, after: _Reading, bound: Tolerance) -> bool:
    if (
        before.numbers.shape != after.numbers.shape
        or before.decision.__class__ is not after.decision.__class__
    ):
        return False
    if _difference(before.numbers, after.numbers) > bound.number:
        return False
    if before.decision == after.decision:
        return True
    if before.word_tags is not None and after.word_tags is not None:
        return _only_ties_changed(before, after, bound)
    return before.margin < bound.margin


def _only_ties_changed(before: _Reading, after: _Reading, bound: Tolerance) -> bool:
    one, other = before.word_tags or (), after.word_tags or ()
    changed = np.array([a != b for a, b in zip(one, other, strict=True)], dtype=bool)
    highest = np.maximum(before.numbers[changed], after.numbers[changed])
    return bool((highest <= 0.5 + bound.margin).all())  # of two equal probabilities neither exceeds one half


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the largest |a - b| / max(1, |a|); infinite where only one side is a number."""
    if one.size == 0:
        return 0.0
    gaps = np.abs(one - other) / np.maximum(1.0, np.abs(one))
    gaps[np.isnan(one) & np.isnan(other)] = 0.0
    return float(np.nan_to_num(gaps, nan=np.inf, posinf=np.inf).max())


def _read(answer: Answer) -> _Reading:
    """Read an answer; one of the wrong shape stands for itself and equals only its like."""
    try:
        return _read_kind(answer)
    except (KeyError, TypeError, ValueError, AttributeError):
        return _Reading(decision=("malformed", repr(answer)), numbers=_numbers(()))


def _read_kind(answer: Answer) -> _Reading:  # noqa: PLR0911 - one return for each kind of answer
    """Read any of the five kinds of answer; an error object decides its error type."""
    if isinstance(answer, np.ndarray):
        return _Reading(decision="embedding", numbers=answer.astype(np.float64).ravel())
    if "embedding" in answer:
        return _Reading(decision="embedding", numbers=_numbers(answer["embedding"]))
    if "label" in answer:
        scores = answer.get("scores", {})
        ordered = _numbers([scores[name] for name in sorted(scores)])
        return _Reading(decision=answer["label"], numbers=ordered, margin=_margin(ordered))
    if "choice" in answer:
        ordered = _numbers(answer.get("scores", ()))
        return _Reading(decision=answer["choice"], numbers=ordered, margin=_margin(ordered))
    if "tags" in answer:
        words = tuple(str(word["tag"]) for word in answer["tags"])
        return _Reading(
            decision=words, numbers=_numbers([word["score"] for word in answer["tags"]]), word_tags=words
        )
    if answer.get("answers"):
        scores = _numbers([span["score"] for span in answer["answers"]])
        best = answer["answers"][0]
        return _Reading(
            decision=(best["start"], best["end"], best["text"]), numbers=scores[:1], margin=_margin(scores)
        )
    return _Reading(decision=("no answer", _error_type(answer)), numbers=_numbers(()))


def _margin(scores: NDArray[np.float64]) -> float:
    """Return the lead of the best score over the second; infinite where there is no second."""
    if scores.size < 2:  # noqa: PLR2004 - a lead is between two
        return float(np.inf)
    second, first = np.sort(scores)[-2:]
    return float(first - second)


def _numbers(values: Sequence[Any] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values, dtype=np.float64).ravel()


def _error_type(answer: Mapping[str, Any]) -> str:
    error = answer.get("error")
    return str(error.get("type")) if isinstance(error, Mapping) else ""
