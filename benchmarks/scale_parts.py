"""What is measured of growing cost: the parts, their cases, and how one case is measured.

Rules: what is compared runs in turns, in another order in each repeat; a finished case is kept at once, so
that the next run goes on behind it; a case that would end too late is not begun. CPU time is that of all the
service's processes; beside it stands what other processes had of the cores meanwhile.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.frontend_texts import PAIRS, Texts, requests_of
from benchmarks.http_client import closed_loop, connect, open_loop
from benchmarks.model_variants import write_catalogue
from benchmarks.scale_server import Serving
from benchmarks.server_process import busy_s
from models.synthetic import Size
from models.tokenizer import Tokenizer

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.http_client import Load
    from benchmarks.peers_store import Store

SHARES = (0.2, 0.4, 0.6, 0.8, 0.9)
VARIANTS = (1, 2, 5, 10)
LENGTHS = (16, 32, 64, 128, 256, 512)
WORKERS = (1, 2, 4)
# So many at once saturate the engine, and leave each of ten variants some to batch.
AT_ONCE = 64
# Every case of a part, as what tells it apart.
CASES: Mapping[str, tuple[dict[str, Any], ...]] = {
    "load": tuple({"share": share} for share in SHARES),
    "variants": tuple({"variants": count} for count in VARIANTS),
    "length": tuple({"length": length, "at_once": at_once} for length in LENGTHS for at_once in (1, 16)),
    "workers": tuple({"workers": count} for count in WORKERS),
}
# Of a start and a case that were not measured yet: ten base variants, and 400 requests of a slow machine.
_START_S, _CASE_S = 60.0, 30.0
_US_PER_S, _MS_PER_S = 1e6, 1e3
# Tokens that begin and end a sequence; and words that may be too long for the rest before it is left empty.
_SPECIAL, _PASSED = 2, 100


class Bench:
    """What every part needs: what to ask, who is asked, where results go, and how much time there is."""

    def __init__(
        self, arguments: argparse.Namespace, folder: Path, until: float, advance: Callable[[], None]
    ) -> None:
        self._arguments = arguments
        self._folder = folder
        self._until = until
        self._advance = advance
        self._texts = Texts(arguments.data, PAIRS, arguments.seed)
        self._tokenizer = Tokenizer.bundled()

    async def run(self, part: str, store: Store) -> bool:
        """Measure what a part lacks; return whether it is whole."""
        pending = [
            (repeat, case)
            for repeat in range(self._arguments.repeats)
            for case in self._order(part, repeat)
            if key_of(self._arguments, part, repeat, case) not in store
        ]
        if not pending:
            return True
        longest_s = _CASE_S
        if time.monotonic() + _START_S + longest_s > self._until:
            return False
        with ExitStack() as stack:
            arms = self._arms(part, stack)
            full_per_s = await self._full(arms, store) if part == "load" else 0.0
            for repeat, case in pending:
                if time.monotonic() + longest_s > self._until:
                    return False
                began = time.monotonic()
                serving = arms[case.get("workers", 1)]
                found = await self._case(part, serving, case, full_per_s, repeat)
                longest_s = max(longest_s, time.monotonic() - began)
                store.put(key_of(self._arguments, part, repeat, case), cell=case | found | {"repeat": repeat})
                self._advance()
        return True

    def _order(self, part: str, repeat: int) -> list[dict[str, Any]]:
        order = random.Random(f"{self._arguments.seed} {part} {repeat}")  # noqa: S311 - an order, no secret
        return order.sample(CASES[part], len(CASES[part]))

    def _arms(self, part: str, stack: ExitStack) -> dict[int, Serving]:
        """Start what a part asks, by the number of HTTP processes."""
        arguments = self._arguments
        if part == "workers":  # a mini model, whose forward pass takes little
            catalogue = write_catalogue(arguments.models, Size.MINI, 1)
            return {
                count: stack.enter_context(Serving(catalogue, self._folder, http_workers=count))
                for count in WORKERS
            }
        count = max(VARIANTS) if part == "variants" else 1
        catalogue = write_catalogue(arguments.models, arguments.size, count)
        return {1: stack.enter_context(Serving(catalogue, self._folder))}

    async def _full(self, arms: Mapping[int, Serving], store: Store) -> float:
        """Return what a closed loop reaches, of which rates are shares; measured once."""
        key = key_of(self._arguments, "load", 0, {"share": None})
        known = store.get(*key)
        if known is None:
            found = await self._closed(arms[1], self._requests(["v0"]), AT_ONCE)
            known = store.put(key, cell=found | {"share": None, "repeat": None})
        return float(known["cell"]["per_s"])

    async def _case(
        self, part: str, serving: Serving, case: Mapping[str, Any], full_per_s: float, repeat: int
    ) -> dict[str, Any]:
        match part:
            case "load":
                return await self._offered(serving, case["share"], full_per_s, repeat)
            case "variants":
                names = [f"v{number}" for number in range(case["variants"])]
                return await self._closed(serving, self._requests(names), AT_ONCE)
            case "length":
                length, at_once = case["length"], case["at_once"]
                count = max(4, self._arguments.tokens * at_once // (16 * length))
                inputs = [{"text": self._text(length)} for _ in range(count)]
                return await self._closed(serving, requests_of("v0", inputs), at_once)
            case "workers":
                return await self._closed(serving, self._requests(["v0"], 4.0), AT_ONCE)
        raise AssertionError(f"{part} is no part. This is a bug.")

    async def _offered(
        self, serving: Serving, share: float, full_per_s: float, repeat: int
    ) -> dict[str, Any]:
        """Offer a share of what a closed loop reaches, as Poisson arrivals."""
        rate = share * full_per_s
        rng = np.random.default_rng([self._arguments.seed, repeat, round(1000 * share)])
        count = max(1, round(rate * self._arguments.load_s))
        instants = np.cumsum(rng.exponential(1.0 / rate, count)).tolist()
        inputs = self._texts.take(count)
        before = _Clock(serving)
        done = await open_loop(serving.address, requests_of("v0", inputs), instants)
        return _Clock(serving).summary(before, done) | {"offered_per_s": rate}

    async def _closed(self, serving: Serving, requests: list[bytes], at_once: int) -> dict[str, Any]:
        connections = await connect(serving.address, at_once)
        await closed_loop(connections, requests[: max(at_once, len(requests) // 10)])
        before = _Clock(serving)
        done = await closed_loop(connections, requests)
        found = _Clock(serving).summary(before, done)
        for connection in connections:
            connection.close()
        return found

    def _requests(self, variants: list[str], times: float = 1.0) -> list[bytes]:
        """Return so many times the usual number of requests, to each of these variants in turn."""
        inputs = self._texts.take(round(times * self._arguments.requests))
        names = [variants[place % len(variants)] for place in range(len(inputs))]
        return [
            request for name, item in zip(names, inputs, strict=True) for request in requests_of(name, [item])
        ]

    def _text(self, length: int) -> str:
        return text_of(length, self._words(), lambda word: len(self._tokenizer.encode_ids([word])[0]))

    def _words(self) -> Iterator[str]:
        while True:
            yield from self._texts.take(1)[0]["text"].split()


def text_of(length: int, words: Iterable[str], count: Callable[[str], int]) -> str:
    """Return words that make a sequence of this many tokens, or a few less, special ones included.

    A word that is longer than what is left is passed over: some languages have sentences of a single one.
    """
    taken, left, passed = list[str](), length - _SPECIAL, 0
    for word in words:
        size = count(word)
        if size <= left:
            taken.append(word)
            left -= size
        else:
            passed += 1
        if left == 0 or (taken and passed >= _PASSED):
            return " ".join(taken)
    raise AssertionError("Words ended. This is a bug.")


class _Clock:
    """CPU seconds of a service, of this process and of all cores, at one moment."""

    def __init__(self, serving: Serving) -> None:
        self._served_s, self._own_s = serving.cpu_s(), time.process_time()
        self._busy_s, self._wall_s = busy_s(), time.perf_counter()

    def summary(self, before: _Clock, load: Load) -> dict[str, Any]:
        """Return one measurement as plain values."""
        served_s, own_s = self._served_s - before._served_s, self._own_s - before._own_s
        cores_s = (self._wall_s - before._wall_s) * (os.cpu_count() or 1)
        return {
            "requests": len(load.latencies_s),
            "per_s": load.per_s,
            "cpu_us": served_s / len(load.latencies_s) * _US_PER_S,
            "client_ratio": load.cpu_s / load.wall_s,
            "others_ratio": max(0.0, (self._busy_s - before._busy_s - served_s - own_s) / cores_s),
            "latencies_ms": [round(latency_s * _MS_PER_S, 2) for latency_s in load.latencies_s],
        }


def key_of(arguments: argparse.Namespace, part: str, repeat: int, case: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a finished case is kept under: its settings are part of it."""
    named = " ".join(f"{name}={value}" for name, value in case.items())
    return (part, settings_of(arguments), str(repeat), named)


def settings_of(arguments: argparse.Namespace) -> str:
    """Return what cases must have in common to stand in one table."""
    settings = (arguments.size, arguments.seed, arguments.requests, arguments.tokens, arguments.load_s)
    return " ".join(map(str, (*settings, arguments.data)))
