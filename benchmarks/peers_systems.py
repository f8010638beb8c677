"""The servers that are compared: how each is started, asked and understood, and which settings it may have.

Rules: every system serves the same two checkpoints with the same tokenizer, one process tree, on the
loopback; its own protocol is used, with plain JSON. The first of ``candidates`` is what a peer gets until
``--tune`` has measured all of them; the service has one, its defaults.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from benchmarks.peers_grid import Kind
from benchmarks.peers_trace import SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from benchmarks.peers_trace import Item

LABELS = ("contradiction", "entailment", "neutral")
Settings = dict[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a server finds things. ``python``: its environment's interpreter. ``log``: what it writes."""

    python: Path
    checkpoints: Mapping[Kind, Path]
    catalogue: Path
    log: Path
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """One server. ``read``: scores in the order of ``LABELS``, or the vector, from a reply's JSON.

    ``switches``: variables of the environment that make it faster, and are told with its settings.
    ``is_extra``: measured only where asked for by name, and told beside the rest.
    """

    name: str
    title: str
    command: Callable[[Place, Settings], list[str]]
    paths: Mapping[Kind, str]
    ask: Callable[[Kind, Item], Any]
    read: Callable[[Kind, Any], list[float]]
    candidates: tuple[Settings, ...] = ({},)
    packages: tuple[str, ...] = ()
    requirements: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, str] = field(default_factory=dict)
    is_extra: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is a form of the service."""
        return self.requirements is None

    @property
    def is_peer(self) -> bool:
        """Whether goals are held against it: somebody else's, in the dtype that it is used with."""
        return not self.is_own and not self.is_extra

    def body(self, kind: Kind, item: Item) -> bytes:
        """Return a request's body."""
        return json.dumps(self.ask(kind, item), ensure_ascii=False).encode()

    def answer(self, kind: Kind, body: bytes) -> list[float]:
        """Return the numbers of a reply."""
        return self.read(kind, json.loads(body))


# So that torch's threads sleep soon on cores that they share with the client and the HTTP side, as the
# service has it; a peer's users would have to know of it.
_SHARED: Final = {"GOMP_SPINCOUNT": "1000", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
_ROUTES: Final = {Kind.CLASSIFY: "/classify", Kind.EMBED: "/embed"}


def _options(settings: Mapping[str, Any]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _pair(_: Kind, item: Item) -> dict[str, str]:
    return {"text": item.text} | ({} if item.text_pair is None else {"text_pair": item.text_pair})


def _plain(kind: Kind, said: Any) -> list[float]:
    return [said[label] for label in LABELS] if kind is Kind.CLASSIFY else said


def _script(name: str) -> Callable[[Place, Settings], list[str]]:
    def command(place: Place, settings: Settings) -> list[str]:
        folders = [word for kind, path in place.checkpoints.items() for word in (f"--{kind}", str(path))]
        module = ["-m", f"benchmarks.peers.{name}"]
        return [str(place.python), *module, *folders, "--port", str(place.port), *_options(settings)]

    return command


def _infinity_command(dtype: str) -> Callable[[Place, Settings], list[str]]:
    fixed = (
        "--engine torch --device cpu --no-bettertransformer --no-model-warmup --no-trust-remote-code "
        "--host 127.0.0.1 --log-level error"
    )

    def command(place: Place, settings: Settings) -> list[str]:
        models = [
            word
            for kind, path in place.checkpoints.items()
            for word in ("--model-id", str(path), "--served-model-name", str(kind))
        ]
        given = ["--dtype", dtype, "--batch-size", str(settings["batch_size"]), "--port", str(place.port)]
        return [str(place.python.with_name("infinity_emb")), "v2", *models, *fixed.split(), *given]

    return command


def _infinity_ask(kind: Kind, item: Item) -> dict[str, Any]:
    text = item.text if item.text_pair is None else f"{item.text}{SEPARATOR}{item.text_pair}"
    return {"model": str(kind), "input": [text]}


def _infinity_read(kind: Kind, said: Any) -> list[float]:
    (one,) = said["data"]
    if kind is Kind.EMBED:
        return list(one["embedding"])
    return _plain(kind, {entry["label"]: entry["score"] for entry in one})


def _own_read(kind: Kind, said: Any) -> list[float]:
    (output,) = said["outputs"]
    return _plain(kind, output["scores" if kind is Kind.CLASSIFY else "embedding"])


def _own(dtype: str) -> System:
    def command(place: Place, settings: Settings) -> list[str]:
        where = ["--catalogue", str(place.catalogue), "--port", str(place.port), "--log-level", "warning"]
        start = [sys.executable, "-m", "service", "--device", "cpu", "--dtype", dtype]
        return [*start, *where, *_options(settings)]

    return System(
        name=dtype,
        title=f"xlmr-serve, {dtype}",
        command=command,
        paths={kind: f"/v1/variants/{kind}/predict" for kind in Kind},
        ask=lambda kind, item: {"inputs": [_pair(kind, item)]},
        read=_own_read,
        packages=("torch", "transformers", "fastapi", "uvicorn"),
        is_extra=dtype == "bfloat16",
    )


def _infinity(name: str, title: str, dtype: str) -> System:
    return System(
        name=name,
        title=title,
        command=_infinity_command(dtype),
        paths={Kind.CLASSIFY: "/classify", Kind.EMBED: "/embeddings"},
        ask=_infinity_ask,
        read=_infinity_read,
        candidates=tuple({"threads": 2, "batch_size": size} for size in (8, 16)),
        packages=("infinity-emb", "sentence-transformers", "transformers", "torch"),
        requirements="infinity.txt",
        environment=_SHARED | {"DO_NOT_TRACK": "1", "INFINITY_ANONYMOUS_USAGE_STATS": "0"},
        is_extra=dtype != "float32",
    )


def systems() -> tuple[System, ...]:
    """Return all of them, the service's forms first."""
    return (
        _own("float32"),
        _own("int8"),
        _own("bfloat16"),
        _infinity("infinity", "Infinity", "float32"),
        _infinity("infinity-int8", "Infinity, int8", "int8"),
        System(
            name="litserve",
            title="LitServe",
            command=_script("litserve_server"),
            paths=_ROUTES,
            ask=_pair,
            read=_plain,
            candidates=(
                {"threads": 2, "workers": 1, "batch_size": 8, "wait_s": 0.002},
                {"threads": 1, "workers": 2, "batch_size": 8, "wait_s": 0.002},
                {"threads": 1, "workers": 2, "batch_size": 1, "wait_s": 0.0},
            ),
            packages=("litserve", "transformers", "torch"),
            requirements="litserve.txt",
            environment=_SHARED,
        ),
        System(
            name="fastapi",
            title="FastAPI and a transformers pipeline",
            command=_script("fastapi_server"),
            paths=_ROUTES,
            ask=_pair,
            read=_plain,
            candidates=({"threads": 2, "concurrent": 1}, {"threads": 1, "concurrent": 2}),
            packages=("fastapi", "transformers", "torch"),
            requirements="fastapi.txt",
            environment=_SHARED,
        ),
        System(
            name="ray",
            title="Ray Serve, @serve.batch",
            command=_script("ray_server"),
            paths=_ROUTES,
            ask=_pair,
            read=_plain,
            candidates=(
                {"threads": 2, "replicas": 1, "batch_size": 8, "wait_s": 0.002},
                {"threads": 1, "replicas": 2, "batch_size": 8, "wait_s": 0.002},
                {"threads": 1, "replicas": 2, "batch_size": 1, "wait_s": 0.0},
            ),
            packages=("ray", "transformers", "torch"),
            requirements="ray.txt",
            # Its own fast way for HTTP: the default proxy takes a request some ten milliseconds.
            switches={"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
            environment=_SHARED | {"RAY_USAGE_STATS_ENABLED": "0"},
        ),
    )
