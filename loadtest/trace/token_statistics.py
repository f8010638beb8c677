"""Token statistics by task and language: pure arithmetic on lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from loadtest.trace.lengths import ItemLengths

REFERENCE_LANGUAGE = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Mean and percentiles of a sample; percentiles are values that occur (nearest rank)."""

    mean: float
    p50: int
    p90: int
    p99: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatistics:
    """Tokens of one task, language and role, special tokens included.

    ``request``: given to the encoder for an item, over its choices and windows. ``sequence``: of each
    sequence, cut at ``cap``. ``longest``: of a sequence before any cut. ``over_cap_ratio``: of items with a
    sequence over the cap, which is cut or spread over windows. ``windows_mean``: of question answering only.
    """

    num_items: int
    cap: int | None
    request: Spread
    sequence: Spread
    uncapped_mean: float
    longest: int
    over_cap_ratio: float
    windows_mean: float | None


def summarise(lengths: Sequence[ItemLengths], *, cap: int | None, has_windows: bool) -> TokenStatistics:
    """Return the statistics of items' lengths, of which there must be one."""
    sequences = np.array([length for item in lengths for length in item.sequences], dtype=np.int64)
    capped = sequences if cap is None else np.minimum(sequences, cap)
    return TokenStatistics(
        num_items=len(lengths),
        cap=cap,
        request=_spread(np.array([item.served for item in lengths], dtype=np.int64)),
        sequence=_spread(capped),
        uncapped_mean=float(sequences.mean()),
        longest=int(sequences.max()),
        over_cap_ratio=sum(item.is_over_cap for item in lengths) / len(lengths),
        windows_mean=sum(item.num_windows for item in lengths) / len(lengths) if has_windows else None,
    )


def premiums(tokens: Mapping[str, float]) -> dict[str, float]:
    """Return how many tokens each language takes for one of English; empty without English.

    ``tokens``: of texts that translate each other. Source: Petrov et al. 2023, arXiv 2305.15425.
    """
    reference = tokens.get(REFERENCE_LANGUAGE)
    if not reference:
        return {}
    return {language: count / reference for language, count in tokens.items()}


def _spread(values: NDArray[np.int64]) -> Spread:
    p50, p90, p99 = np.percentile(values, [50, 90, 99], method="inverted_cdf")
    return Spread(mean=float(values.mean()), p50=int(p50), p90=int(p90), p99=int(p99))
