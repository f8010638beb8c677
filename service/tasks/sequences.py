"""Special tokens and truncation: one text or two as XLM-R reads them.

Rules: one text is ``<s> A </s>``, two are ``<s> A </s></s> B </s>``. What is too long loses
its end; of two texts the longer one is cut first, exactly as the fast tokenizers of Hugging
Face do under ``longest_first``.

Source: huggingface/tokenizers, tokenizers/src/utils/truncation.rs, ``truncate_encodings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.errors import TooLongError
from service.tasks.parameters import PAIR_SPECIALS, SINGLE_SPECIALS
from service.tasks.task import Encoded, Usage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Tokenizer


def single(ids: NDArray[np.int32], tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Return ``<s> A </s>``: int32 ``[len(ids) + 2]``."""
    sequence = np.empty(len(ids) + SINGLE_SPECIALS, dtype=np.int32)
    sequence[0] = tokenizer.bos_id
    sequence[1:-1] = ids
    sequence[-1] = tokenizer.eos_id
    return sequence


def pair(first: NDArray[np.int32], second: NDArray[np.int32], tokenizer: Tokenizer) -> NDArray[np.int32]:
    """Return ``<s> A </s></s> B </s>``: int32 ``[len(first) + len(second) + 4]``."""
    middle = len(first) + 1
    sequence = np.empty(len(first) + len(second) + PAIR_SPECIALS, dtype=np.int32)
    sequence[0] = tokenizer.bos_id
    sequence[1:middle] = first
    sequence[middle : middle + 2] = tokenizer.eos_id
    sequence[middle + 2 : -1] = second
    sequence[-1] = tokenizer.eos_id
    return sequence


def longest_first(num_first: int, num_second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text are kept so that both fit in ``room``."""
    if num_first + num_second <= room:
        return num_first, num_second
    fewer = min(num_first, num_second, room // 2)
    kept = (fewer, room - fewer)
    return kept if num_first <= num_second else (kept[1], kept[0])


def fitted(
    first: NDArray[np.int32], second: NDArray[np.int32] | None, parameters: Parameters, tokenizer: Tokenizer
) -> tuple[NDArray[np.int32], bool]:
    """Return the sequence of one text or two, and whether it was cut to ``max_tokens``.

    Raises:
        TooLongError: it would have to be cut, and ``truncate`` is false.
    """
    if second is None:
        room = parameters.max_tokens - SINGLE_SPECIALS
        cut = len(first) > room
        sequence = single(first[:room], tokenizer)
    else:
        room = parameters.max_tokens - PAIR_SPECIALS
        num_first, num_second = longest_first(len(first), len(second), room)
        cut = num_first + num_second < len(first) + len(second)
        sequence = pair(first[:num_first], second[:num_second], tokenizer)
    if cut and not parameters.truncate:
        specials = parameters.max_tokens - room
        num_tokens = len(first) + (0 if second is None else len(second)) + specials
        raise too_long(num_tokens, parameters.max_tokens)
    return sequence, cut


def too_long(num_tokens: int, max_tokens: int) -> TooLongError:
    """Return the refusal of a sequence that may not be cut."""
    return TooLongError(
        f"The input takes {num_tokens} tokens and may take {max_tokens}; shorten it, raise `max_tokens` if "
        "the variant allows it, or set `truncate` to true."
    )


def one_sequence(sequence: NDArray[np.int32], *, cut: bool) -> Encoded[None]:
    """Return the record of an input that is a single sequence."""
    usage = Usage(tokens=len(sequence), windows=1, truncated=cut)
    return Encoded(sequences=(sequence,), layout=None, usage=usage)
