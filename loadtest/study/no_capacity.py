"""Why a search for a capacity ended without one, from what was probed, and what to do about it. Pure.

Cases: probes that measured the machine; an objective that no rate met, or every rate did; a search that ran
out of probes between two rates; a sweep around a bracket that its own probes put elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.study.capacity_search import block_of
from loadtest.study.probing import MAX_INVALID
from loadtest.study.study_file import NothingValidError, StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from loadtest.study.capacity_search import Swept, Target
    from loadtest.study.made import Probed

LOOSER = (
    "Declare a looser objective (capacity.objective, --slo) or longer probes, which may search lower, or "
    "capacity.method = 'offline'"
)
TIGHTER = "Declare a tighter objective (capacity.objective, --slo) or longer probes"
ANEW = ", in a new --out."


def no_capacity(swept: Swept, probed: Sequence[Probed], target: Target) -> StoppedError:
    """Return the error that says why ``swept`` holds no capacity of the first arm."""
    if swept.invalid:
        return NothingValidError(
            f"no capacity under {target.text}: {swept.reason.rstrip('.')}. The same command makes these "
            "probes again; a quieter machine, or cores of their own for server and generator, may help"
        )
    if not probed:
        return StoppedError(f"no capacity under {target.text}: {swept.reason or 'nothing was probed'}")
    if swept.blocks:
        return StoppedError(
            f"no capacity under {target.text}: the sweep around the rate that the search found does not hold "
            f"it, so that probes of one rate differ too much. Declare longer probes or more of them{ANEW}"
        )
    return _of_search(probed, target)


def _of_search(probed: Sequence[Probed], target: Target) -> StoppedError:
    """Say what the last search saw, the one that found nothing."""
    arm = probed[-1].arm
    shares = attained(one for one in probed if one.arm == arm)
    met = [rate for rate, share in shares.items() if share >= target.share]
    wanted = f"{target.share:.0%} of requests within {target.limit_s * 1e3:g} ms"
    if not met:
        rate = min(shares)
        return StoppedError(
            f"no rate met {target.text} with {arm}: at {rate:.4g}/s, the lowest of {len(shares)} probed, "
            f"{shares[rate]:.1%} were in time, and the objective wants {wanted}. {LOOSER}{ANEW}",
            missed=True,
        )
    if len(met) == len(shares):
        rate = max(shares)
        return StoppedError(
            f"every rate met {target.text} with {arm}: at {rate:.4g}/s, the highest of {len(shares)} probed, "
            f"{shares[rate]:.1%} were in time, and the objective wants {wanted}. {TIGHTER}{ANEW}"
        )
    missed = [rate for rate in shares if rate not in met]
    return StoppedError(
        f"no capacity under {target.text} with {arm}: after {len(shares)} rates it lay between "
        f"{max(met):.4g}/s, which met it, and {min(missed):.4g}/s. Declare more capacity.max_probes{ANEW}"
    )


def attained(probed: Iterable[Probed]) -> dict[float, float]:
    """Return the mean share of requests in time at each rate, over valid probes."""
    seen: dict[float, list[float]] = {}
    for one in probed:
        if one.summary.valid:
            share = block_of(one.summary, one.rate_per_s).attained_ratio
            seen.setdefault(one.rate_per_s, []).append(share)
    return {rate: sum(shares) / len(shares) for rate, shares in seen.items()}


def given_up(probed: Sequence[Probed]) -> list[str]:
    """Return the names of the probes in a row that were not valid, at which a search gave up."""
    numbers: list[str] = []
    names = []
    for one in reversed(probed):
        number = one.name.removesuffix(f"-{one.arm}")
        if number not in numbers:
            numbers.append(number)
        if len(numbers) > MAX_INVALID:
            break
        names.append(one.name)
    return names
