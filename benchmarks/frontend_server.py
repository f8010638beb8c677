"""The servers that the front end's benchmark compares, all under uvicorn with the same settings.

    python benchmarks/frontend_server.py ARM TOKENIZER_JSON LOG_FILE [LEVEL]

``service``: this service as it is shipped, its log in a file, on a device that takes no time; ``unlogged``:
without the lines that are no warnings; ``direct``: with a backend that answers at once. ``bare``: a
typed FastAPI endpoint that takes and returns the same JSON and does nothing. ``cutting``: the same, which
also cuts the texts, on the event loop, in the service's own way. ``naive``: cuts them by the library's own
call for pairs. These three speak HTTP by uvicorn's own protocol, the service by one that derives from it.
Listens on a free port and says which.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.null_device import CLASSIFY, EMBED, LABELS, LOGITS, REVISION, NullDevice, vector
from benchmarks.server_process import HOST
from models.tokenizer import Tokenizer as ServiceTokenizer
from service.api.schemas import (  # noqa: TC001 - FastAPI reads annotations
    ClassifyRequest,
    EmbedRequest,
    TextItem,
)
from service.app import create_app, create_service
from service.domain import Outcome
from service.observability.logs import configure_logs
from service.server import collect_rarely, server_config
from service.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tokenizers import Tokenizer

    from service.domain import Work
    from service.service import Service
    from service.settings import Settings

_BACKLOG = 2048
# What the bare endpoint says of every text: it does not know better.
_NUM_TOKENS = 42
_MAX_TOKENS = 512


class Usage(BaseModel):
    """As in the service's answers."""

    tokens: int
    windows: int
    truncated: bool


class Label(BaseModel):
    """As in the service's answers."""

    label: str
    scores: dict[str, float]
    usage: Usage


class Vector(BaseModel):
    """As in the service's answers."""

    embedding: list[float]
    usage: Usage


class Labels(BaseModel):
    """As the service answers for classify."""

    variant: str
    revision: str
    outputs: list[Label]


class Vectors(BaseModel):
    """As the service answers for embed."""

    variant: str
    revision: str
    outputs: list[Vector]


def plain_app(count_tokens: Callable[[TextItem], int]) -> FastAPI:
    """Return two typed endpoints whose answers are the same every time."""
    app = FastAPI()
    exponentials = np.exp(np.array(LOGITS) - max(LOGITS))
    scores = dict(zip(LABELS, (exponentials / exponentials.sum()).tolist(), strict=True))
    embedding = vector().tolist()

    def usage(item: TextItem) -> Usage:
        return Usage(tokens=count_tokens(item), windows=1, truncated=False)

    @app.post("/v1/variants/classify/predict")
    async def classify(request: ClassifyRequest) -> Labels:
        outputs = [Label(label=LABELS[0], scores=scores, usage=usage(item)) for item in request.inputs]
        return Labels(variant=CLASSIFY, revision=REVISION, outputs=outputs)

    @app.post("/v1/variants/embed/predict")
    async def embed(request: EmbedRequest) -> Vectors:
        outputs = [Vector(embedding=embedding, usage=usage(item)) for item in request.inputs]
        return Vectors(variant=EMBED, revision=REVISION, outputs=outputs)

    return app


def counter(library: Tokenizer) -> Callable[[TextItem], int]:
    """Return what cuts a text, or two, as the tokenizer's own file says."""
    library.no_padding()
    library.enable_truncation(_MAX_TOKENS)
    return lambda item: len(library.encode(item.text, item.text_pair).ids)


def service_counter(tokenizer_file: str) -> Callable[[TextItem], int]:
    """Return what cuts a text, or two, as the service does, and counts the special tokens."""
    tokenizer = ServiceTokenizer.from_file(tokenizer_file)

    def count(item: TextItem) -> int:
        texts = [item.text] if item.text_pair is None else [item.text, item.text_pair]
        num_tokens = sum(map(len, tokenizer.encode_ids(texts)))
        return min(_MAX_TOKENS, num_tokens + 2 * len(texts))

    return count


def answer_at_once(service: Service) -> None:
    """Leave queue, cost model and engine out of a service."""
    rows = {CLASSIFY: np.array(LOGITS, dtype=np.float32), EMBED: vector()}

    async def submit(work: Work) -> Outcome:
        return Outcome(
            logits=tuple(rows[work.lane.variant] for _ in work.sequences), queue_s=0.0, infer_s=0.0
        )

    service.backend.submit = submit  # type: ignore[method-assign]  # the rest of it stays as it is


async def serve(app: FastAPI, settings: Settings, ready: asyncio.Event | None) -> None:
    """Listen, say where, and serve until standard input ends. ``ready``: None for a plain app."""
    listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
    config = server_config(settings, app)
    if ready is None:
        config.http = "httptools"
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    if ready is not None:
        await ready.wait()
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.should_exit = True
    await serving


def main() -> None:
    """Build what was asked for and serve it."""
    arm, tokenizer_file, log_file, *level = sys.argv[1:]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # as service/cli.py
    with Path(log_file).open("w", encoding="utf-8") as log:
        shown = "warning" if arm == "unlogged" else "info"
        configure_logs(level=level[0] if level else shown, form="json", stream=log)
        ready = None
        settings = read_settings(catalogue=Path("none.toml"))
        match arm:
            case "service" | "unlogged" | "direct":
                ready = asyncio.Event()
                collect_rarely()

                def fail() -> None:
                    raise SystemExit("The service did not start; its log says why.")

                service = create_service(
                    settings,
                    make_device=lambda: NullDevice(tokenizer_file),
                    on_ready=ready.set,
                    on_failure=fail,
                )
                if arm == "direct":
                    answer_at_once(service)
                app = create_app(settings, service)
            case "cutting":
                app = plain_app(service_counter(tokenizer_file))
            case "naive":
                from tokenizers import Tokenizer  # noqa: PLC0415 - the bare server does without

                app = plain_app(counter(Tokenizer.from_file(tokenizer_file)))
            case _:
                app = plain_app(lambda _: _NUM_TOKENS)
        with asyncio.Runner(loop_factory=uvicorn.Config(app, log_config=None).get_loop_factory()) as runner:
            runner.run(serve(app, settings, ready))


if __name__ == "__main__":
    main()
