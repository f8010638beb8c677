"""LitServe around transformers: requests are collected into batches by LitServe, then padded.

Started with ``python -m benchmarks.peers.litserve_server`` in an environment of its own.
Rules: one LitAPI a checkpoint, each in worker processes of its own, as LitServe has it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import litserve  # type: ignore[import-not-found]  # it is only in its own environment
import torch

from benchmarks.peers.padded import Classifier, Embedder

if TYPE_CHECKING:
    from collections.abc import Sequence


class Padded(litserve.LitAPI):  # type: ignore[misc]  # LitServe is not installed where types are checked
    """One checkpoint behind one path."""

    def __init__(self, *, kind: type[Classifier | Embedder], folder: str, threads: int, **given: Any) -> None:
        super().__init__(**given)
        self._kind, self._folder, self._threads = kind, folder, threads

    def setup(self, device: str) -> None:
        """Load the checkpoint; runs in the worker."""
        del device
        torch.set_num_threads(self._threads)
        self._model = self._kind(self._folder)

    def decode_request(self, request):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - LitServe would take a postponed annotation for a query parameter
        """Return text and second text."""
        return request["text"], request.get("text_pair")

    def batch(self, inputs: Sequence[tuple[str, str | None]]) -> Sequence[tuple[str, str | None]]:
        """Leave a batch as it came: texts are padded where they are tokenized."""
        return inputs

    def predict(self, x: Sequence[tuple[str, str | None]] | tuple[str, str | None]) -> Any:
        """Answer a batch; with a batch size of one LitServe hands over one text, and takes one answer."""
        return self._model([x])[0] if isinstance(x, tuple) else self._model(x)

    def unbatch(self, output: list[Any]) -> list[Any]:
        """Return the answers one by one."""
        return output

    def encode_response(self, output: Any) -> Any:
        """Return what becomes JSON."""
        return output


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classify", required=True)
    parser.add_argument("--embed", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--wait-s", type=float, required=True)
    given = parser.parse_args()
    apis = [
        Padded(
            kind=kind,
            folder=folder,
            threads=given.threads,
            api_path=path,
            max_batch_size=given.batch_size,
            batch_timeout=given.wait_s,
        )
        for path, kind, folder in (
            ("/classify", Classifier, given.classify),
            ("/embed", Embedder, given.embed),
        )
    ]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=given.workers, timeout=False)
    server.run(host="127.0.0.1", port=given.port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
