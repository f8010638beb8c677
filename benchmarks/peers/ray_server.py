"""Ray Serve around transformers: requests are collected by ``@serve.batch`` inside the replica, then padded.

Started with ``python -m benchmarks.peers.ray_server`` in an environment of its own. Rules: a Ray on the
loopback alone, no dashboard, no usage statistics, ended with the process; the batcher sits in the deployment
that answers HTTP, since a hop between deployments costs a request several milliseconds.
"""

from __future__ import annotations

import argparse
import signal
import threading
from typing import TYPE_CHECKING, Any

import ray  # type: ignore[import-not-found]  # it is only in its own environment
import torch
from ray import serve

from benchmarks.peers.padded import Classifier, Embedder

if TYPE_CHECKING:
    from starlette.requests import Request

NUM_CPUS = 2


def deployment_of(kind: type[Classifier | Embedder], folder: str, given: argparse.Namespace) -> Any:
    """Return a deployment of one checkpoint."""

    @serve.deployment(
        num_replicas=given.replicas,
        max_ongoing_requests=1024,
        ray_actor_options={
            "num_cpus": 0.2,
            "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(given.threads)}},
        },
    )
    class Padded:
        def __init__(self) -> None:
            torch.set_num_threads(given.threads)
            self._model = kind(folder)

        @serve.batch(max_batch_size=given.batch_size, batch_wait_timeout_s=given.wait_s)  # type: ignore[untyped-decorator]  # Ray is not installed where types are checked
        async def answer(self, texts: list[tuple[str, str | None]]) -> list[Any]:
            return self._model(texts)

        async def __call__(self, request: Request) -> Any:
            one = await request.json()
            return await self.answer((one["text"], one.get("text_pair")))

    return Padded.bind()  # type: ignore[attr-defined]  # the decorator makes it a deployment


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classify", required=True)
    parser.add_argument("--embed", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--replicas", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--wait-s", type=float, required=True)
    given = parser.parse_args()
    ray.init(
        num_cpus=NUM_CPUS,
        include_dashboard=False,
        object_store_memory=128 * 1024**2,
        _node_ip_address="127.0.0.1",
        log_to_driver=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": given.port})
    for path, kind, folder in (("/classify", Classifier, given.classify), ("/embed", Embedder, given.embed)):
        serve.run(deployment_of(kind, folder, given), name=path.strip("/"), route_prefix=path)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray has set its own, which end the driver alone
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
