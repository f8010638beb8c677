"""How long the service's forward pass alone takes on texts of given lengths, and the best matrix product.

Started with ``python -m benchmarks.peers_forward_own``. Rules: reads {mix: [length, ..]} from standard input
and writes {"seconds": {mix: seconds}, "product_flops_per_s": ..} to standard output; the model is in the form
and the batches in the order that the service has; lengths come in the order in which they are given.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch

from benchmarks.engine_batches import Batch
from benchmarks.engine_timing import Products
from models.checkpoint import load_model
from models.fused import best_form
from models.synthetic import Size, shape_of
from models.variant import HeadKind, Variant
from service.engine.threads import usable_cores


def main() -> None:
    """Measure the products, then each mix twice, after a batch that is not measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--size", type=Size, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(usable_cores())
    variant = Variant(name="bench", head=HeadKind.CLASSIFY, checkpoint=given.checkpoint)
    form = best_form(torch.device("cpu"), torch.float32)
    model, shape, spent_s = load_model(variant, form=form), shape_of(given.size), {}
    with torch.inference_mode():
        products = Products(shape.hidden_size, shape.intermediate_size).measure()
        for mix, lengths in json.load(sys.stdin).items():
            batches = [
                Batch.of(
                    tuple(sorted(lengths[start : start + given.batch_size])), vocab_size=model.vocab_size
                )
                for start in range(0, len(lengths), given.batch_size)
            ]
            batches[0].run(model)
            began = time.perf_counter()
            for batch in batches * 2:
                batch.run(model)
            spent_s[mix] = (time.perf_counter() - began) / 2
    print(json.dumps({"seconds": spent_s, "product_flops_per_s": max(products.values())}))


if __name__ == "__main__":
    main()
