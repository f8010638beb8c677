"""What a head kind is to the service: how its inputs become sequences, and logits answers.

Rules: the text of many inputs is cut in one call of the tokenizer; an input that fails
alone is a value (its ``InputError``), so that the others are still answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from service.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Sequence as Many

    import numpy as np
    from numpy.typing import NDArray

    from service.tasks.parameters import Parameters
    from service.tasks.tokenizer import Tokenizer

InputT = TypeVar("InputT")
LayoutT = TypeVar("LayoutT")
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What an input took: ``tokens`` given to the encoder, special ones included.

    ``tokens`` is a sum over windows and choices; ``windows`` counts windows of one text.
    ``truncated``: some of the input was left out.
    """

    tokens: int
    windows: int
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded(Generic[LayoutT]):
    """One input as sequences (int32 ``[L]`` each), and what is needed to read their logits."""

    sequences: tuple[NDArray[np.int32], ...]
    layout: LayoutT
    usage: Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What of an input goes to the tokenizer: texts, or one list of words."""

    texts: tuple[str, ...] = ()
    words: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(Generic[InputT, LayoutT, AnswerT]):
    """One head kind, as three pure functions.

    ``material`` checks an input and says what to cut; ``arrange`` builds sequences from what was
    cut (one a text, or one for the words): ids alone, int32 ``[L]``, or whole ``Pieces`` where
    ``needs_places``, which take twice as long; ``decode`` reads the logits of those sequences,
    float32, in order: ``[C]`` classify, ``[1]`` choose, ``[L, C]`` tag, ``[L, 2]`` span,
    ``[H]`` embed. The first two raise InputError; ``decode`` raises EngineError when logits
    are not finite.
    """

    head: str
    material: Callable[[InputT], Material]
    arrange: Callable[[InputT, Many[Any], Parameters, Tokenizer], Encoded[LayoutT]]
    decode: Callable[[Encoded[LayoutT], Many[NDArray[np.float32]], Many[str], Parameters], AnswerT]
    needs_places: bool = False

    def encode(self, item: InputT, parameters: Parameters, tokenizer: Tokenizer) -> Encoded[LayoutT]:
        """Turn one input into sequences.

        Raises:
            InputError: this input cannot be answered.
        """
        (encoded,) = self.encode_all([item], parameters, tokenizer)
        if isinstance(encoded, InputError):
            raise encoded
        return encoded

    def encode_all(
        self, items: Many[InputT], parameters: Parameters, tokenizer: Tokenizer
    ) -> list[Encoded[LayoutT] | InputError]:
        """Turn inputs into sequences, or into the reason why one cannot be answered."""
        materials = [self._material(item) for item in items]
        texts = [text for material in materials if isinstance(material, Material) for text in material.texts]
        cut = self._cut(texts, tokenizer)
        results: list[Encoded[LayoutT] | InputError] = []
        for item, material in zip(items, materials, strict=True):
            if isinstance(material, InputError):
                results.append(material)
                continue
            pieces: list[Any] = [next(cut) for _ in material.texts]
            if material.words is not None:
                pieces.append(tokenizer.encode_words(material.words))
            results.append(self._arrange(item, pieces, parameters, tokenizer))
        return results

    def _cut(self, texts: list[str], tokenizer: Tokenizer) -> Iterator[Any]:
        if not texts:
            return iter(())
        return iter(tokenizer.encode(texts) if self.needs_places else tokenizer.encode_ids(texts))

    def _material(self, item: InputT) -> Material | InputError:
        try:
            return self.material(item)
        except InputError as error:
            return error

    def _arrange(
        self, item: InputT, pieces: Many[Any], parameters: Parameters, tokenizer: Tokenizer
    ) -> Encoded[LayoutT] | InputError:
        try:
            return self.arrange(item, pieces, parameters, tokenizer)
        except InputError as error:
            return error
