"""A service with a real model, which on order also runs a trace without HTTP, on the same weights.

    python benchmarks/frontend_engine.py CATALOGUE LOG_FILE [DTYPE]

Reads orders, one JSON object a line: ``{"inputs": [...]}`` cuts these inputs and gives all of them to the
backend at once, so that scheduler and engine have the whole trace before them; answers with the seconds from
there to the last result, and the tokens.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as service/cli.py, before torch is loaded
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import uvicorn

from benchmarks.server_process import HOST
from models.tokenizer import Tokenizer
from service.app import create_app, create_service
from service.domain import Work
from service.observability.logs import configure_logs
from service.settings import read_settings
from service.tasks.kinds import TASKS
from service.tasks.parameters import Overrides, lane_of, resolve
from service.tasks.text_input import TextInput

if TYPE_CHECKING:
    from service.service import Service

VARIANT = "v0"
_BACKLOG = 2048
# Far from the ids of requests, which count from zero.
_FIRST_ID = 1_000_000_000


class Offline:
    """Runs traces straight through the backend."""

    def __init__(self, service: Service) -> None:
        self._backend = service.backend
        self._num_works = _FIRST_ID

    async def run(self, inputs: list[dict[str, str]]) -> dict[str, Any]:
        """Run a trace, one work an input, all of them at once."""
        (card,) = (card for card in self._backend.cards() if card.name == VARIANT)
        parameters = resolve(card, Overrides())
        tokenizer = Tokenizer.from_file(card.tokenizer)
        items = [TextInput(text=item["text"], text_pair=item.get("text_pair")) for item in inputs]
        encoded = [TASKS[card.head].encode(item, parameters, tokenizer) for item in items]
        batches_before = self._backend.statistics().num_batches
        began_at = time.monotonic()
        works = [
            Work(
                work_id=self._num_works + place,
                lane=lane_of(card, parameters),
                sequences=one.sequences,
                arrived_at=began_at,
            )
            for place, one in enumerate(encoded)
        ]
        self._num_works += len(works)
        await asyncio.gather(*(self._backend.submit(work) for work in works))
        return {
            "seconds": time.monotonic() - began_at,
            "tokens": sum(one.usage.tokens for one in encoded),
            "batches": self._backend.statistics().num_batches - batches_before,
        }


async def serve(catalogue: Path, dtype: str | None) -> None:
    """Serve, and obey orders until there are no more."""
    ready, failed = asyncio.Event(), asyncio.Event()
    settings = read_settings(catalogue=catalogue, dtype=dtype)
    service = create_service(settings, on_ready=ready.set, on_failure=failed.set)
    listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, service), http="httptools", ws="none", log_config=None, access_log=False
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    for end in asyncio.as_completed([ready.wait(), failed.wait()]):
        await end
        break
    if service.failure is not None:
        raise service.failure
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    offline, loop = Offline(service), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await offline.run(json.loads(line)["inputs"])), flush=True)
    server.should_exit = True
    await serving
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """Serve what is asked for."""
    catalogue, log_file, *dtype = sys.argv[1:]
    with Path(log_file).open("w", encoding="utf-8") as log:
        configure_logs(level="info", form="json", stream=log)
        loop_factory = uvicorn.Config("", log_config=None).get_loop_factory()
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(serve(Path(catalogue), dtype[0] if dtype else None))


if __name__ == "__main__":
    main()
