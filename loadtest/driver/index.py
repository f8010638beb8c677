"""The index phase: candidates of retrieval tasks are embedded before the timed phase, once an arm.

Many inputs go into one request, a few requests at a time; a batch that the service finds
too large or too much for its queue is halved and tried again. Vectors land in float32 files; an index
made of the same weights, parameters and items is used again.
"""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from loadtest.driver.answers import read_vector
from loadtest.driver.errors import TargetError
from loadtest.driver.matching import index_items
from loadtest.driver.service_client import Refusal, ServiceClient
from loadtest.driver.wire import encode_body
from loadtest.trace.embeddings import Candidates, read_origin, write_candidates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from loadtest.driver.plan import Plan
    from loadtest.driver.wire import Target
    from loadtest.trace.items import Item
    from loadtest.trace.schedule import Trace

MAX_INPUTS = 64  # the service takes 256; smaller batches leave its queue room and show progress
MAX_BODY_BYTES = 1_000_000  # half of the service's default limit
NUM_STREAMS = 4  # enough to keep a server busy while answers are read
_MAX_TRIES = 8
_HALVE = frozenset({413, 429})
_TRY_AGAIN = frozenset({429, 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Candidates that go into one request: they share their parameters."""

    items: tuple[Item, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Embeds the candidates of a run. ``cards``: what the target says of each variant.

    ``show`` is told a task, how many of its candidates are done, and how many there are.
    """

    plan: Plan
    cards: Mapping[str, Mapping[str, Any]]
    target: Target
    folder: Path
    show: Callable[[str, int, int], None]

    def build(self, trace: Trace) -> tuple[str, ...]:
        """Embed the candidates of every scheduled retrieval task, and return those tasks.

        Raises:
            TargetError: the service refuses a candidate, or stops answering.
        """
        items = {task: index_items(trace, task) for task in self.plan.variants}
        tasks = tuple(task for task, candidates in items.items() if candidates)
        for task in tasks:
            self._build_task(task, items[task])
        return tasks

    def _build_task(self, task: str, items: Sequence[Item]) -> None:
        origin = self._origin(task, items)
        if read_origin(self.folder, task) != origin:
            vectors = self._embed_all(task, items)
            ids = tuple(item.id for item in items)
            write_candidates(self.folder, task, Candidates(ids=ids, vectors=vectors, origin=origin))
        self.show(task, len(items), len(items))

    def _origin(self, task: str, items: Sequence[Item]) -> dict[str, Any]:
        """Return everything that the vectors depend on, as plain values."""
        content = hashlib.sha256()
        for item in items:
            parameters = self.plan.parameters(task, item.parameters)
            content.update(encode_body([item.input], parameters) + item.id.encode())
        variant = self.plan.variants[task]
        card = self.cards[variant]
        return {
            "variant": variant,
            "weights": card.get("digest") or card.get("revision"),
            "dtype": card.get("dtype"),
            "content": content.hexdigest(),
        }

    def _embed_all(self, task: str, items: Sequence[Item]) -> NDArray[np.float32]:
        """Embed items a few batches at a time; return float32 ``[n, H]`` in their order."""
        variant = self.plan.variants[task]
        rows: list[NDArray[np.float32]] = []
        batches = _batches(items, self.plan, task)
        with ServiceClient(self.target) as client, ThreadPoolExecutor(NUM_STREAMS) as pool:
            try:
                for vectors in pool.map(lambda batch: _embed(client, variant, batch), batches):
                    rows.extend(vectors)
                    self.show(task, len(rows), len(items))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if len({row.shape for row in rows}) > 1:
            raise TargetError(f"{variant} gave embeddings of different lengths; they cannot be searched.")
        return np.stack(rows)


def _batches(items: Sequence[Item], plan: Plan, task: str) -> list[_Batch]:
    """Cut items, in their order, where parameters change or a request would grow too large."""
    batches: list[_Batch] = []
    first, size, key = 0, 0, ""
    for at, item in enumerate(items):
        item_key = json.dumps(plan.parameters(task, item.parameters), sort_keys=True)
        item_size = len(encode_body([item.input], {}))
        full = at - first >= MAX_INPUTS or size + item_size > MAX_BODY_BYTES
        if at > first and (full or item_key != key):
            batches.append(_batch(items[first:at], plan, task))
            first, size = at, 0
        size, key = size + item_size, item_key
    return [*batches, _batch(items[first:], plan, task)]


def _batch(items: Sequence[Item], plan: Plan, task: str) -> _Batch:
    parameters = plan.parameters(task, items[0].parameters) | {"encoding": "base64"}
    return _Batch(items=tuple(items), parameters=parameters)


def _embed(client: ServiceClient, variant: str, batch: _Batch) -> list[NDArray[np.float32]]:
    """Embed one batch, in halves where it is too much at once."""
    tries = 0
    while True:
        tries += 1
        try:
            outputs = client.predict(variant, [item.input for item in batch.items], batch.parameters)
        except Refusal as refusal:
            if refusal.status in _TRY_AGAIN and tries < _MAX_TRIES:
                time.sleep(refusal.retry_after_s)
            if refusal.status in _HALVE and len(batch.items) > 1:
                return [row for half in _halves(batch) for row in _embed(client, variant, half)]
            if refusal.status not in _TRY_AGAIN or tries >= _MAX_TRIES:
                first = batch.items[0].id
                raise TargetError(
                    f"{variant} refused the candidates from {first} on: {refusal}."
                ) from refusal
        else:
            return [_vector(item, output) for item, output in zip(batch.items, outputs, strict=True)]


def _halves(batch: _Batch) -> tuple[_Batch, _Batch]:
    middle = len(batch.items) // 2
    return (
        _Batch(items=batch.items[:middle], parameters=batch.parameters),
        _Batch(items=batch.items[middle:], parameters=batch.parameters),
    )


def _vector(item: Item, output: Mapping[str, Any]) -> NDArray[np.float32]:
    vector = read_vector(output.get("embedding"))
    if vector is None:
        said = output.get("error", "no embedding")
        raise TargetError(
            f"The candidate {item.id} has no embedding: {json.dumps(said, ensure_ascii=False)[:200]}."
        )
    return vector
