"""Embed: one vector for a text or a pair of texts.

Rules: pooling happens in the head, over all tokens of the sequence, special ones included;
here the vector is only scaled to length 1 where that is asked for. It stays float32.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from service.tasks.probabilities import check_finite
from service.tasks.task import Encoded, Task
from service.tasks.text_input import arrange_texts, text_material

if TYPE_CHECKING:
    from collections.abc import Sequence as Many

    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbedAnswer:
    """The vector: float32 ``[H]``."""

    embedding: NDArray[np.float32]


def embedding_base64(embedding: NDArray[np.float32]) -> str:
    """Return the vector as base64 of little-endian float32, for ``Encoding.BASE64``."""
    return b64encode(embedding.astype("<f4", copy=False).tobytes()).decode("ascii")


def _decode(
    _encoded: Encoded[None], logits: Many[NDArray[np.float32]], _labels: Many[str], parameters: Parameters
) -> EmbedAnswer:
    (vector,) = logits
    check_finite(vector)
    if not parameters.normalize:
        return EmbedAnswer(embedding=vector)
    length = np.linalg.norm(vector.astype(np.float64))
    return EmbedAnswer(embedding=vector if length == 0.0 else (vector / length).astype(np.float32))


EMBED: Final = Task(head="embed", material=text_material, arrange=arrange_texts, decode=_decode)
