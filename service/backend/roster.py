"""Which variants are loaded, and as what each is served.

Rules: weights are known by what their card calls `served_as`, variants by name, and a name points at one set
of weights at a time; it changes in one step. Descriptions outlive the weights, since batches that were cut
before a swap are still reported after it. Owns no weights and no device.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from service.engine.sharing import tell_sharing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Sequence as Many

    from service.batching.cost import Shape
    from service.domain import Lane, VariantCard
    from service.engine.device import Loaded


class Roster:
    """Owns what is said of the loaded variants of one backend."""

    def __init__(self) -> None:
        """Know none yet."""
        self._loaded: dict[str, Loaded] = {}
        self._served: dict[str, str] = {}
        self._refused: set[str] = set()
        self._num_generations: Counter[str] = Counter()
        self._num_loads: Counter[str] = Counter()
        self._num_failed_loads: Counter[str] = Counter()

    @property
    def num_loads(self) -> Mapping[str, int]:
        """Loads that ended well, by variant."""
        return self._num_loads

    @property
    def num_failed_loads(self) -> Mapping[str, int]:
        """Loads that did not, by variant."""
        return self._num_failed_loads

    def begin(self, loaded: Iterable[Loaded]) -> None:
        """Serve what the engine has started with."""
        for one in loaded:
            self._loaded[one.card.served_as] = one
            self._served[one.card.name] = one.card.served_as
            self._num_loads[one.card.name] += 1
            self._num_generations[one.card.name] += 1

    def cards(self) -> Many[VariantCard]:
        """Describe every variant that is served."""
        return tuple(self._loaded[served_as].card for served_as in self._served.values())

    def name_of(self, lane: Lane) -> str:
        """Return the name of the variant whose weights a lane asks for."""
        return self._loaded[lane.variant].card.name

    def shape_of(self, lane: Lane) -> Shape:
        """Return what a lane's batches have in common with others that cost as much."""
        return self._loaded[lane.variant].shape_at(lane.layer)

    def takes(self, lane: Lane) -> bool:
        """Whether the weights that a lane asks for are here to stay, at least until its work has ended."""
        return lane.variant in self._loaded and lane.variant not in self._refused

    def digest_of(self, variant: str) -> str | None:
        """Return the digest of the weights that are served under a name; None where none are."""
        served_as = self._served.get(variant)
        return None if served_as is None else self._loaded[served_as].card.digest

    def generation_of(self, variant: str) -> int:
        """Return how many sets of weights a variant has had."""
        return self._num_generations[variant]

    def add(self, loaded: Loaded) -> None:
        """Describe weights that are loaded and not served yet."""
        self._num_generations[loaded.card.name] += 1
        self._loaded[loaded.card.served_as] = loaded

    def serve(self, loaded: Loaded) -> str | None:
        """Serve a variant by these weights; returns as what it was served before, None if it was not."""
        card = loaded.card
        self._num_loads[card.name] += 1
        before = self._served.get(card.name)
        self._served[card.name] = card.served_as
        self._tell_sharing()
        return before

    def load_failed(self, variant: str) -> None:
        """Count a load that failed."""
        self._num_failed_loads[variant] += 1

    def withdraw(self, variant: str) -> str:
        """Serve a variant no more; returns as what it was served."""
        served_as = self._served.pop(variant)
        self._tell_sharing()
        return served_as

    def refuse(self, served_as: str) -> None:
        """Take no more works that ask for these weights."""
        self._refused.add(served_as)

    def forget(self, served_as: str) -> None:
        """Say nothing more of weights that are gone."""
        self._loaded.pop(served_as, None)
        self._refused.discard(served_as)

    def _tell_sharing(self) -> None:
        """Say of every variant that is served what it shares with the others that are."""
        told = tell_sharing(self._loaded[served_as] for served_as in self._served.values())
        self._loaded |= {one.card.served_as: one for one in told}
