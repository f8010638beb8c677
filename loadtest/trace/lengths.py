"""How many tokens an item takes: its sequences' lengths, as the service would cut them.

Counted with the ``tokenizers`` library alone, whose truncation and padding are turned off
(published tokenizer files carry both). Texts that come again, such as a context with
several questions, are counted once. Lengths include special tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from loadtest.trace.items import TraceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from loadtest.trace.items import Item

_MAX_QUESTION_TOKENS = 64
"""Longest question of XTREME-R's question answering; the rest is cut (scripts/train_qa.sh)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemLengths:
    """One item's tokens.

    ``sequences``: before any cut, one a choice. ``served``: given to the encoder, over all choices and
    windows. ``num_windows``: 1 unless a context needs more.
    """

    sequences: tuple[int, ...]
    served: int
    num_windows: int
    is_over_cap: bool


class TokenCounter:
    """Counts tokens of texts, special tokens apart."""

    def __init__(self, path: Path) -> None:
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises plain Exception for any bad file
            raise TraceError(f"{path}: no tokenizer.json that can be read ({error}).") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._known: dict[str, int] = {}
        self.num_single_specials: int = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self.num_pair_specials: int = self._tokenizer.num_special_tokens_to_add(is_pair=True)

    def learn(self, texts: Iterable[str]) -> None:
        """Count texts in one call of the library, which uses every core."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        encodings = self._tokenizer.encode_batch_fast(new, add_special_tokens=False)
        self._known.update(zip(new, map(len, encodings), strict=True))

    def forget(self) -> None:
        """Drop what was learned, to bound memory."""
        self._known.clear()

    def count(self, text: str) -> int:
        """Return the tokens of a text."""
        if text not in self._known:
            self.learn([text])
        return self._known[text]


def lengths_of(items: Sequence[Item], counter: TokenCounter) -> list[ItemLengths]:
    """Return the lengths of items, in order."""
    counter.learn(text for item in items for text in _texts(item.input))
    lengths = [_lengths_of(item, counter) for item in items]
    counter.forget()
    return lengths


def _texts(input_: Mapping[str, Any]) -> list[str]:
    """Return every text of an input that is tokenized by itself."""
    if "choices" in input_:
        return [_first_text(input_), *input_["choices"]]
    if "tokens" in input_:
        return list(input_["tokens"])
    return list(input_.values())


def _lengths_of(item: Item, counter: TokenCounter) -> ItemLengths:
    input_, cap = item.input, item.parameters.get("max_tokens")
    if "tokens" in input_:
        # A word of which the tokenizer leaves nothing stands as <unk>.
        row = sum(max(1, counter.count(word)) for word in input_["tokens"])
        return _plain((row + counter.num_single_specials,), cap, is_cut=False)
    if "choices" in input_:
        first = counter.count(_first_text(input_)) + counter.num_pair_specials
        return _plain(tuple(first + counter.count(choice) for choice in input_["choices"]), cap, is_cut=True)
    counts = [counter.count(text) for text in input_.values()]
    if "question" in input_:
        return _windowed(counts[0], counts[1], item.parameters, counter.num_pair_specials)
    specials = counter.num_single_specials if len(counts) == 1 else counter.num_pair_specials
    return _plain((sum(counts) + specials,), cap, is_cut=True)


def _first_text(input_: Mapping[str, Any]) -> str:
    """Return what stands before every choice, joined as the service joins it."""
    question = input_.get("question")
    return f"{input_['context']} {question}" if question else str(input_["context"])


def _plain(sequences: tuple[int, ...], cap: int | None, *, is_cut: bool) -> ItemLengths:
    """Return the lengths of sequences that are cut at the cap; a sentence of words is not, but spread."""
    is_over = cap is not None and max(sequences) > cap
    served = sum(min(length, cap) for length in sequences) if is_cut and cap is not None else sum(sequences)
    return ItemLengths(sequences=sequences, served=served, num_windows=1, is_over_cap=is_over)


def _windowed(question: int, context: int, parameters: Mapping[str, Any], specials: int) -> ItemLengths:
    """Return the lengths of a question and its context, whose windows share ``stride`` tokens."""
    whole = question + context + specials
    cap = parameters.get("max_tokens")
    if cap is None:
        return ItemLengths(sequences=(whole,), served=whole, num_windows=1, is_over_cap=False)
    asked = min(question, _MAX_QUESTION_TOKENS)
    stride = parameters["stride"]
    room = cap - specials - asked
    num_windows = 1 if context <= room else 1 + -(-(context - room) // (room - stride))
    served = num_windows * (asked + specials) + context + (num_windows - 1) * stride
    return ItemLengths(sequences=(whole,), served=served, num_windows=num_windows, is_over_cap=whole > cap)
