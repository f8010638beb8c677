"""A few fixed texts on which every variant is asked, when it is loaded, whether its numbers are right.

Rules: the set never depends on the variant, so that figures can be compared; it holds short and
long sequences, pairs, and scripts of several families. Each two neighbours mean the same.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.tokenizer import Tokenizer

# Written for this project.
_TEXTS = (
    "The night train to the coast was two hours late.",
    "Der Nachtzug an die Küste hatte zwei Stunden Verspätung.",
    "Who planted the old apple trees behind the school?",
    "¿Quién plantó los viejos manzanos detrás de la escuela?",
    "Rain.",
    "雨。",
    "The museum opens at nine.",
    "Музей открывается в девять.",
    "My grandmother keeps her letters in a wooden box.",
    "تحتفظ جدتي برسائلها في صندوق خشبي.",
    "The river is deeper here than it looks.",
    "यहाँ नदी जितनी दिखती है उससे अधिक गहरी है।",
    "We sold the boat before the winter.",
    "Tuliuza mashua kabla ya majira ya baridi.",
)
_PAIR = (0, 8)
_LONG = tuple(range(0, 14, 2))


def canary(tokenizer: Tokenizer, *, max_positions: int) -> tuple[NDArray[np.int32], ...]:
    """Return the sequences of a tokenizer, special tokens included: each text, a pair, and a long one.

    Int32 ``[L]`` each, cut to ``max_positions``.
    """
    pieces = [piece.ids for piece in tokenizer.encode(_TEXTS)]
    bos, eos = [tokenizer.bos_id], [tokenizer.eos_id]
    sequences = [[*bos, *ids, *eos] for ids in pieces]
    first, second = (pieces[index] for index in _PAIR)
    sequences.append([*bos, *first, *eos, *eos, *second, *eos])
    sequences.append([*bos, *chain.from_iterable(pieces[index] for index in _LONG), *eos])
    return tuple(np.array(sequence[:max_positions], dtype=np.int32) for sequence in sequences)
