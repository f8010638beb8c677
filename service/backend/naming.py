"""Under which names a front end asks for weights, over backends that come and go.

Rules: every backend process counts its generations from 0, so that "v" of one may be other weights than "v"
of the next; the front end therefore counts for itself. A name of ours stands for one set of weights for ever,
and is translated into what the backend at the other end calls them. One that it does not have stands for
nothing: a question is never answered by other weights than those that it was asked of. Where a new backend
serves what the last one did, questions go on under the old name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.domain import VariantCard

# A question that sees this many swaps of its variant before it is sent is told to come again.
_KEPT_GENERATIONS: Final = 8


class Naming:
    """Owns the names of one front end's lanes."""

    def __init__(self) -> None:
        """Know no backend."""
        self._theirs: dict[str, str] = {}
        self._latest: dict[str, VariantCard] = {}

    def forget_backend(self) -> None:
        """Ask for nothing until the next backend has said what it serves."""
        self._theirs = {}

    def told(self, cards: Iterable[VariantCard]) -> tuple[VariantCard, ...]:
        """Return what a backend serves, under our names."""
        return tuple(map(self._name, cards))

    def theirs(self, ours: str) -> str | None:
        """Return what the backend calls the weights of a name of ours; None where it does not have them."""
        return self._theirs.get(ours)

    def _name(self, card: VariantCard) -> VariantCard:
        latest = self._latest.get(card.name)
        if latest is None:
            generation = card.generation
        elif self._is_known(latest, card):
            generation = latest.generation
        else:
            generation = max(card.generation, latest.generation + 1)
        ours = self._latest[card.name] = replace(card, generation=generation)
        self._theirs[ours.served_as] = card.served_as
        if generation >= _KEPT_GENERATIONS:
            self._theirs.pop(replace(card, generation=generation - _KEPT_GENERATIONS).served_as, None)
        return ours

    def _is_known(self, latest: VariantCard, card: VariantCard) -> bool:
        """Whether this is what the latest name of the variant stands for."""
        theirs = self._theirs.get(latest.served_as)
        if theirs is None:  # said by the last backend, not by this one
            return _served(latest) == _served(card)
        return theirs == card.served_as


def _served(card: VariantCard) -> VariantCard:
    """Leave out what differs from one process to the next although the same is served."""
    return replace(card, generation=0, parity=None, owned_bytes=0, shared_bytes=0)
