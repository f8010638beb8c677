"""Which bytes of a variant's weights are its own, and which others use too."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from service.engine.device import Loaded


def tell_sharing(loaded: Iterable[Loaded]) -> tuple[Loaded, ...]:
    """Write into each card what only this variant uses, and what it shares with another.

    Variants that say nothing of what they hold keep their cards as they are.
    """
    variants = tuple(loaded)
    users = Counter(key for variant in variants for key in variant.held_bytes)
    return tuple(_told(variant, users) if variant.held_bytes else variant for variant in variants)


def _told(variant: Loaded, users: Counter[str]) -> Loaded:
    owned = sum(size for key, size in variant.held_bytes.items() if users[key] == 1)
    total = sum(variant.held_bytes.values())
    return replace(variant, card=replace(variant.card, owned_bytes=owned, shared_bytes=total - owned))
