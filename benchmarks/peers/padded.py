"""A checkpoint run as transformers' users run it: the tokenizer pads a batch to its longest text.

Rules: needs torch and transformers alone, since it runs inside the peers' own environments; a text is cut at
``MAX_TOKENS``; embeddings are means over all tokens, divided by their length, as the service's are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_TOKENS = 512

Text = tuple[str, str | None]


class Classifier:
    """Probabilities of labels."""

    def __init__(self, folder: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Text]) -> list[dict[str, float]]:
        """Return {label: probability} of each text or pair."""
        logits = self._model(**encode(self._tokenizer, texts)).logits
        labels = self._model.config.id2label
        return [
            {labels[index]: value for index, value in enumerate(row)} for row in logits.softmax(-1).tolist()
        ]


class Embedder:
    """Vectors of length one."""

    def __init__(self, folder: str) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Text]) -> list[list[float]]:
        """Return a vector [H] of each text or pair."""
        batch = encode(self._tokenizer, texts)
        hidden = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        means = (hidden * mask).sum(1) / mask.sum(1)
        vectors: list[list[float]] = torch.nn.functional.normalize(means, dim=-1).tolist()
        return vectors


def encode(tokenizer: Any, texts: Sequence[Text]) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask [B, L], padded; pairs and single texts may be mixed."""
    rows = [
        tokenizer(first, second, truncation=True, max_length=MAX_TOKENS, return_token_type_ids=False)
        for first, second in texts
    ]
    return dict(tokenizer.pad(rows, return_tensors="pt"))
