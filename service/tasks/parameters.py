"""How an input is to be read and its answer given: a request's wishes over a variant's defaults.

Rules: ``Overrides`` hold what a request said, None where it said nothing; ``resolve`` checks
them against what the variant can do and fills in the rest. What has no meaning for a head
kind is checked and then not used:

    all         truncate, max_tokens, layer        tag, span   stride
    classify    top_k (labels, best first)         span        max_answer_tokens, top_k (answers, else 1)
    embed       pooling, normalize, encoding

``stride`` is how many tokens neighbouring windows share.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeVar

from service.domain import Lane, Pooling
from service.errors import ShapeError

if TYPE_CHECKING:
    from service.domain import VariantCard

T = TypeVar("T")

# <s> A </s></s> B </s> with one token each.
MIN_TOKENS: Final = 6
PAIR_SPECIALS: Final = 4
SINGLE_SPECIALS: Final = 2
# XTREME-R's question answering: stride, longest answer and longest question in tokens.
DEFAULT_STRIDE: Final = 128
DEFAULT_ANSWER_TOKENS: Final = 30
QUESTION_TOKENS: Final = 64
# Fifty times the n-best list of SQuAD's own evaluation; more is a slip, and costs memory.
MAX_TOP_K: Final = 1000


class Encoding(StrEnum):
    """How an embedding is written: numbers, or the base64 of little-endian float32."""

    FLOAT = "float"
    BASE64 = "base64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What a request asked for; None where it left the choice to the variant."""

    truncate: bool | None = None
    max_tokens: int | None = None
    stride: int | None = None
    max_answer_tokens: int | None = None
    top_k: int | None = None
    pooling: Pooling | None = None
    layer: int | None = None
    normalize: bool | None = None
    encoding: Encoding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What holds for a request.

    ``max_tokens``: of one sequence, special tokens included. ``top_k``: None for all labels,
    and for one answer. ``layer``: 1-based, None for the last.
    """

    truncate: bool = True
    max_tokens: int
    stride: int = DEFAULT_STRIDE
    max_answer_tokens: int = DEFAULT_ANSWER_TOKENS
    top_k: int | None = None
    pooling: Pooling = Pooling.MEAN
    layer: int | None = None
    normalize: bool = False
    encoding: Encoding = Encoding.FLOAT


def resolve(card: VariantCard, overrides: Overrides) -> Parameters:
    """Return what a request asked for, and the variant's defaults for the rest.

    Raises:
        ShapeError: a value is out of the range that this variant allows.
    """
    max_tokens = _or(overrides.max_tokens, card.default_max_tokens)
    _check("max_tokens", max_tokens, MIN_TOKENS, card.max_positions)
    layer = _or(overrides.layer, card.num_layers if card.default_layer is None else card.default_layer)
    _check("layer", layer, 1, card.num_layers)
    max_answer_tokens = _or(overrides.max_answer_tokens, DEFAULT_ANSWER_TOKENS)
    _check("max_answer_tokens", max_answer_tokens, 1, None)
    if overrides.top_k is not None:
        _check("top_k", overrides.top_k, 1, MAX_TOP_K)
    return Parameters(
        truncate=_or(overrides.truncate, True),
        max_tokens=max_tokens,
        stride=_stride(card.head, max_tokens, overrides.stride),
        max_answer_tokens=max_answer_tokens,
        top_k=overrides.top_k,
        pooling=_pooling(card, overrides.pooling),
        layer=None if layer == card.num_layers else layer,
        normalize=_or(overrides.normalize, card.default_normalize),
        encoding=_or(overrides.encoding, Encoding.FLOAT),
    )


def lane_of(card: VariantCard, parameters: Parameters) -> Lane:
    """Return the lane in which sequences with these parameters are batched."""
    pooling = parameters.pooling if card.head == "embed" else None
    return Lane(variant=card.served_as, layer=parameters.layer, pooling=pooling)


def window_tokens(head: str, max_tokens: int) -> int | None:
    """Return how many tokens of the content a window surely holds; None for no windows."""
    match head:
        case "tag":
            return max_tokens - SINGLE_SPECIALS
        case "span":
            return max_tokens - PAIR_SPECIALS - max_question_tokens(max_tokens)
        case _:
            return None


def max_question_tokens(max_tokens: int) -> int:
    """Return where a question is cut, so that the context keeps at least half of the room."""
    return min(QUESTION_TOKENS, (max_tokens - PAIR_SPECIALS) // 2)


def _stride(head: str, max_tokens: int, wish: int | None) -> int:
    room = window_tokens(head, max_tokens)
    if wish is not None:
        _check("stride", wish, 0, None if room is None else room - 1)
        return wish
    return DEFAULT_STRIDE if room is None or room > DEFAULT_STRIDE else room // 2


def _pooling(card: VariantCard, wish: Pooling | None) -> Pooling:
    pooling = _or(wish, card.default_pooling)
    if card.head == "embed" and pooling is Pooling.POOLER and not card.has_pooler:
        raise ShapeError(
            "`pooling` is pooler, and this variant's checkpoint has no pooler; ask for mean or cls."
        )
    return pooling


def _or(wish: T | None, default: T) -> T:
    return default if wish is None else wish


def _check(name: str, value: int, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ShapeError(f"`{name}` is {value}; for this variant it must be {bounds}.")
