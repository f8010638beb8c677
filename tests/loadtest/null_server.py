"""An HTTP service of a few lines for tests and benchmarks of the load tester.

Plain asyncio, one connection a Protocol, one write an answer. It speaks enough of the native
API for a run (`/v1/variants`, `/health/ready`, `predict`), records which inputs it was asked,
and can stall once, answer garbage, fail, or close connections.

    python null_server.py '{"variants": [...], "stall_at_s": 1.0, ...}' [PORT]

prints its port on the first line of standard output; without one it takes a free one. Service times are of
one serial worker: constant, or exponential from a seed, times a factor for some variants.
"""

from __future__ import annotations

import array
import asyncio
import base64
import json
import os
import random
import selectors
import ssl
import sys
import time
from typing import Any


def embed(text: str, *, as_text: bool) -> Any:
    """Return a vector that tells its text by its length and its last character."""
    vector = array.array("f", (float(len(text)), float(ord(text[-1])), 0.5))
    return base64.b64encode(vector.tobytes()).decode() if as_text else list(vector)


def head(status: int, length: int, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()


class Service:
    """What all connections share: the answers, the faults to play, and what was asked."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.variants: list[dict[str, Any]] = options.get("variants", [])
        self.variants_body: str | None = options.get("variants_body")
        self.change_after: int | None = options.get("change_after")  # predicts until other weights are served
        self.not_ready: int = options.get("not_ready", 0)  # times that /health/ready says 503
        self.max_inputs: int = options.get("max_inputs", 256)
        self.outputs: dict[str, Any] = options.get("outputs", {})
        self.service_s: float = options.get("service_s", 0.0)  # of one serial worker; 0 answers at once
        self.service_ratios: dict[str, float] = options.get("service_ratios", {})  # variant: times as long
        self.exponential: random.Random | None = None  # of service times; else they are constant
        if options.get("exponential_seed") is not None:
            self.exponential = random.Random(options["exponential_seed"])  # noqa: S311 - service times, no secrets
        self.exit_after: int | None = options.get("exit_after")  # predicts, then the process ends with 9
        self.stall_at_s: float | None = options.get("stall_at_s")  # after the first predict
        self.stall_s: float = options.get("stall_s", 0.0)
        self.tei: bool = options.get("tei", False)  # timing as Text Embeddings Inference tells it
        self.blind: bytes | None = None  # one answer to all, for benchmarks: nothing is read or kept
        if options.get("blind"):
            payload = json.dumps(
                {"outputs": [{"label": "neutral", "scores": {}, "usage": {"tokens": 7}}]}
            ).encode()
            self.blind = head(200, len(payload), self.timing(0.0)) + payload
        self.fault: str = options.get("fault", "")
        self.fault_every: int = options.get("fault_every", 1)
        self.log: str | None = options.get("log")
        self.asked: list[str] = []
        self.first_at: float | None = None
        self.free_at = 0.0
        self.num_predicts = 0
        self.stalled = False

    def delay_s(self, now: float, path: str = "") -> float:
        """Return how long this answer waits for the one serial worker."""
        if not self.service_s and self.stall_at_s is None:
            return 0.0
        self.first_at = now if self.first_at is None else self.first_at
        if self.stall_at_s is not None and not self.stalled and now - self.first_at >= self.stall_at_s:
            self.stalled = True
            self.free_at = max(now, self.free_at) + self.stall_s
        self.free_at = max(now, self.free_at) + self.draw_s(path)
        return self.free_at - now

    def draw_s(self, path: str) -> float:
        """Return the next service time, of the variant that a path names."""
        mean_s = self.service_s
        if self.service_ratios:
            mean_s *= self.service_ratios.get(path.split("/")[3], 1.0)
        if self.exponential is None or not mean_s:
            return mean_s
        return self.exponential.expovariate(1 / mean_s)

    def answer(self, path: str, body: bytes, delay_s: float) -> bytes:
        """Return the bytes of an answer that will be written after ``delay_s``."""
        if path.endswith("/predict"):
            return self.predict(path, body, delay_s)
        if path == "/v1/variants":
            payload = self.listing()
        elif path == "/health/ready" and self.not_ready:
            self.not_ready -= 1
            return head(503, 2) + b"{}"
        elif path.startswith("/health/"):
            payload = b'{"status":"ok"}'
        elif path == "/asked":
            payload = json.dumps(self.asked).encode()
        else:
            payload = b'{"title":"no such path"}'
            return head(404, len(payload)) + payload
        return head(200, len(payload)) + payload

    def listing(self) -> bytes:
        """Return the variants, of other weights once ``change_after`` predicts were answered."""
        if self.variants_body is not None:
            return self.variants_body.encode()
        changed = self.change_after is not None and self.num_predicts >= self.change_after
        cards = [{**card, "digest": "other"} if changed else card for card in self.variants]
        return json.dumps({"variants": cards}).encode()

    def predict(self, path: str, body: bytes, delay_s: float) -> bytes:
        """Return a prediction, or the fault that was asked for."""
        if self.blind is not None:
            return self.blind
        self.num_predicts += 1
        if self.exit_after is not None and self.num_predicts > self.exit_after:
            os._exit(9)
        request = json.loads(body)
        if len(request["inputs"]) > self.max_inputs:
            return head(413, 2) + b"{}"
        self.asked.extend(str(item.get("text", item)) for item in request["inputs"])
        if self.fault and self.num_predicts % self.fault_every == 0:
            return FAULTS[self.fault]
        variant = path.split("/")[3]
        output = self.outputs.get(variant, {"label": "neutral", "scores": {"neutral": 1.0}})
        usage = {"tokens": 7, "windows": 1, "truncated": False}
        if output == "embed":
            as_text = request.get("parameters", {}).get("encoding") == "base64"
            answers = [{"embedding": embed(item["text"], as_text=as_text)} for item in request["inputs"]]
        else:
            answers = [output] * len(request["inputs"])
        outputs = [{**answer, "usage": usage} for answer in answers]
        if self.tei:
            del usage["tokens"]  # they are in a header
        payload = json.dumps({"variant": variant, "revision": "r1", "outputs": outputs}).encode()
        return head(200, len(payload), self.timing(delay_s)) + payload

    def timing(self, delay_s: float) -> str:
        """Return the header with the split of an answer's time, or Text Embeddings Inference's five."""
        if self.tei:
            spent = {"total": delay_s, "tokenization": 0.0, "queue": delay_s - self.service_s}
            spent["inference"] = self.service_s
            tei = [f"x-{name}-time: {round(1e3 * seconds)}\r\n" for name, seconds in spent.items()]
            return "".join([*tei, "x-compute-tokens: 7\r\n"])
        infer_ms, queue_ms = 1e3 * self.service_s, 1e3 * (delay_s - self.service_s)
        parts = {"tokenize": 0.0, "queue": queue_ms, "infer": infer_ms, "decode": 0.0, "total": 1e3 * delay_s}
        return "Server-Timing: " + ", ".join(f"{name};dur={ms:.3f}" for name, ms in parts.items()) + "\r\n"


FAULTS = {
    "garbage": head(200, 9) + b"not json!",
    "no_http": b"\x00\x01\x02 what is this\r\n\r\n",
    "close": b"",
    "busy": head(429, 2, "Retry-After: 1\r\n") + b"{}",
    "other_shape": head(200, 16) + b'{"unexpected":1}',
    "cut": head(200, 100) + b'{"half":',
}


class Connection(asyncio.Protocol):
    """One connection; requests of it are answered in order."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.buffer = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = self.buffer[:end].decode("latin-1").lower().split("\r\n")
            lengths = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
            length = sum(lengths)
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.serve(lines[0].split(" ")[1], body)

    def serve(self, path: str, body: bytes) -> None:
        delay = self.service.delay_s(time.monotonic(), path) if path.endswith("/predict") else 0.0
        answer = self.service.answer(path, body, delay)
        if delay:
            asyncio.get_running_loop().call_later(delay, self.write, answer)
        else:
            self.write(answer)

    def write(self, answer: bytes) -> None:
        if self.transport is None or self.transport.is_closing():
            return
        if answer:
            self.transport.write(answer)
        if answer in (FAULTS["close"], FAULTS["cut"], FAULTS["no_http"]):
            self.transport.close()


async def main(options: dict[str, Any], port: int = 0) -> None:
    """Serve until killed."""
    service = Service(options)
    trust = None
    if options.get("tls"):  # files of a certificate and its key
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust.load_cert_chain(*options["tls"])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", port, ssl=trust)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - the port is this program's output
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    # epoll waits whole milliseconds, which would be added to every service time; select() does not.
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}, *map(int, sys.argv[2:])))
