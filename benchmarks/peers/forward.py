"""How long transformers' forward pass alone takes on texts of given lengths, without HTTP or tokenizer.

Started with ``python -m benchmarks.peers.forward`` in a peer's environment. Rules: reads {mix: [length, ..]}
from standard input and writes {mix: seconds} to standard output; as many batches run side by side as the
peer has workers, each padded to its longest text; lengths come in the order in which they are given.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoModelForSequenceClassification

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_ID = 4


class Padded:
    """A checkpoint that is fed with ids of no meaning."""

    def __init__(self, folder: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._threads = threads
        self._model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32
        ).eval()

    def run(self, lengths: Sequence[int]) -> None:
        """Run a batch of texts of these lengths."""
        config = self._model.config
        shape = (len(lengths), max(lengths))
        ids = torch.randint(_FIRST_ID, config.vocab_size, shape)
        mask = (torch.arange(shape[1]) < torch.tensor(lengths)[:, None]).long()
        with torch.inference_mode():
            self._model(input_ids=ids.where(mask.bool(), config.pad_token_id), attention_mask=mask)

    def begin(self) -> None:
        """Give a worker the threads that it may have."""
        torch.set_num_threads(self._threads)


def main() -> None:
    """Measure each mix once, after a few texts that are not measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--side-by-side", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    given = parser.parse_args()
    model, spent_s = Padded(given.checkpoint, given.threads), {}
    with ThreadPoolExecutor(given.side_by_side, initializer=model.begin) as pool:
        for mix, lengths in json.load(sys.stdin).items():
            starts = range(0, len(lengths), given.batch_size)
            batches = [lengths[start : start + given.batch_size] for start in starts]
            list(pool.map(model.run, batches[: 2 * given.side_by_side]))
            began = time.perf_counter()
            list(pool.map(model.run, batches))
            spent_s[mix] = time.perf_counter() - began
    print(json.dumps(spent_s))


if __name__ == "__main__":
    main()
