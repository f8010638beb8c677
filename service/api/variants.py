"""Variants as clients see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from service.api.schemas import BytesInfo, DefaultsInfo, LineageInfo, ParityInfo, VariantInfo

if TYPE_CHECKING:
    from typing import Literal

    from service.domain import VariantCard, VariantParity

SYNTHETIC_WARNING = "Its weights are random numbers: it is for measuring speed, and its answers mean nothing."


def variant_info(card: VariantCard) -> VariantInfo:
    """Describe a variant; one with random weights says so."""
    return VariantInfo(
        name=card.name,
        head=cast('Literal["classify", "choose", "tag", "span", "embed"]', card.head),
        labels=list(card.labels),
        revision=card.revision,
        lineage=LineageInfo(
            system=card.lineage, tasks=list(card.lineage_tasks), languages=list(card.lineage_languages)
        ),
        base=card.base,
        dtype=card.dtype,
        synthetic=card.synthetic,
        warning=SYNTHETIC_WARNING if card.synthetic else None,
        digest=card.digest,
        num_layers=card.num_layers,
        hidden_size=card.hidden_size,
        max_positions=card.max_positions,
        defaults=DefaultsInfo(
            max_tokens=card.default_max_tokens,
            pooling=card.default_pooling.value,
            layer=card.default_layer,
            normalize=card.default_normalize,
        ),
        bytes=BytesInfo(owned=card.owned_bytes, shared=card.shared_bytes),
        parity=None if card.parity is None else _parity_info(card.parity),
    )


def _parity_info(parity: VariantParity) -> ParityInfo:
    return ParityInfo(
        max_relative_error=parity.max_error,
        mean_relative_error=parity.mean_error,
        agreement=parity.agreement,
        num_answers=parity.num_answers,
        batch_relative_error=parity.batch_error,
    )
