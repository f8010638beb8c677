"""A plain FastAPI app around transformers: a pipeline for labels, a model and a mean for vectors.

Started with ``python -m benchmarks.peers.fastapi_server`` in an environment of its own. Rules: nothing is
batched between requests; ``--concurrent`` is how many of FastAPI's threads may compute at once, since its
usual forty on a few cores are slower than any other setting.
"""

from __future__ import annotations

import argparse
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import torch
import uvicorn
from anyio import to_thread
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

from benchmarks.peers.padded import MAX_TOKENS, Embedder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Input(BaseModel):
    """A text, or a pair."""

    text: str
    text_pair: str | None = None


def app_of(given: argparse.Namespace) -> FastAPI:
    """Load both checkpoints and return the app."""
    classify: Any = pipeline("text-classification", model=given.classify, top_k=None, device="cpu")
    embed = Embedder(given.embed)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        to_thread.current_default_thread_limiter().total_tokens = given.concurrent
        yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    async def health() -> None: ...

    @app.post("/classify")
    def labels(one: Input) -> dict[str, float]:
        with torch.inference_mode():
            (found,) = classify([one.model_dump(exclude_none=True)], truncation=True, max_length=MAX_TOKENS)
        return {entry["label"]: entry["score"] for entry in found}

    @app.post("/embed")
    def vector(one: Input) -> list[float]:
        (found,) = embed([(one.text, one.text_pair)])
        return found

    return app


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classify", required=True)
    parser.add_argument("--embed", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--concurrent", type=int, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    uvicorn.run(app_of(given), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
