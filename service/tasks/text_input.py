"""The input of classify and embed: one text, or a pair.

Rules: a pair is one sequence; an empty second text is an error, not a single text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from service.tasks.sequences import fitted, one_sequence
from service.tasks.task import Encoded, Material
from service.tasks.text import check_ids, check_text

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class TextInput:
    """A text, or a pair of texts."""

    text: str
    text_pair: str | None = None


def text_material(item: TextInput) -> Material:
    """Check one text or two.

    Raises:
        InputError: one of them is empty or not made of characters.
    """
    check_text(item.text, "text")
    if item.text_pair is None:
        return Material(texts=(item.text,))
    check_text(item.text_pair, "text_pair")
    return Material(texts=(item.text, item.text_pair))


def arrange_texts(
    item: TextInput, cut: Many[NDArray[np.int32]], parameters: Parameters, tokenizer: Tokenizer
) -> Encoded[None]:
    """Build the sequence of one text or two.

    Raises:
        InputError: nothing is left of a text, or it is too long.
    """
    check_ids(cut[0], "text")
    if item.text_pair is not None:
        check_ids(cut[1], "text_pair")
    second = None if item.text_pair is None else cut[1]
    sequence, shortened = fitted(cut[0], second, parameters, tokenizer)
    return one_sequence(sequence, cut=shortened)
