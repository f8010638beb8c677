"""The forward passes alone of the service and of a peer on the same lengths, one process after the other.

Rules: nothing else is alive meanwhile; who begins changes from round to round; the peer's pass runs in its
own environment, with its threads, workers and batch size. What the server adds around the pass (HTTP,
tokenizer, queue) is not in it: the difference to what is served says what that costs. Texts a second compare
the two; FLOP/s say how well each uses the cores for what it multiplies itself, on real tokens: the
service's last layer is for first tokens alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.engine_batches import useful_flops
from benchmarks.peers_server import NOT_INHERITED, ROOT, ServerError
from models.encoder import Rows
from models.synthetic import Size, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.peers_grid import Mix
    from benchmarks.peers_systems import Settings, System
    from benchmarks.peers_trace import Item

_TIMEOUT_S = 120.0
# A whole number of the mix's threes, and some seconds of work for a peer.
NUM_TEXTS = 60
# Of 16 requests under way, half are in the batch that runs and half in the one that fills meanwhile.
_OWN_BATCH = 8


def measure_forward(  # noqa: PLR0913 - all by keyword
    *,
    peer: System,
    settings: Settings,
    python: Path,
    checkpoint: Path,
    size: Size,
    traces: Mapping[Mix, Sequence[Item]],
    number: int,
) -> dict[str, Any]:
    """Return tokens and useful FLOP/s of both passes by mix, and those of the best matrix product.

    Raises:
        ServerError: one of them ended with an error, or takes too long.
    """
    lengths = {str(mix): [item.num_tokens for item in items[:NUM_TEXTS]] for mix, items in traces.items()}
    given, own = json.dumps(lengths), ["--checkpoint", str(checkpoint)]

    def of_own() -> dict[str, Any]:
        module = [sys.executable, "-m", "benchmarks.peers_forward_own", *own]
        # As the service sets it for itself.
        environment = {"GOMP_SPINCOUNT": "1000"}
        return _said([*module, "--size", size, "--batch-size", str(_OWN_BATCH)], given, environment)

    def of_peer() -> dict[str, Any]:
        options = {
            "threads": settings["threads"],
            "side-by-side": next(
                (settings[name] for name in ("concurrent", "workers", "replicas") if name in settings), 1
            ),
            "batch-size": settings.get("batch_size", 1),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        environment = {**peer.environment, "OMP_NUM_THREADS": str(settings["threads"])}
        return _said([str(python), "-m", "benchmarks.peers.forward", *own, *words], given, environment)

    first, second = (of_own, of_peer) if number % 2 else (of_peer, of_own)
    found = {first: first(), second: second()}
    own_s, peer_s = found[of_own]["seconds"], found[of_peer]
    return {
        "peer": peer.name,
        "settings": settings,
        "product_flops_per_s": found[of_own]["product_flops_per_s"],
        "mixes": {
            mix: _rates(of_mix, size, own=own_s[mix], peer=peer_s[mix]) for mix, of_mix in lengths.items()
        },
    }


def _rates(lengths: Sequence[int], size: Size, **seconds: float) -> dict[str, Any]:
    shape = shape_of(size)
    flops = {
        side: useful_flops(
            tuple(lengths),
            num_layers=shape.num_layers,
            hidden=shape.hidden_size,
            inner=shape.intermediate_size,
            rows=Rows.FIRST if side == "own" else Rows.ALL,
        )
        for side in seconds
    }
    return {
        "num_texts": len(lengths),
        "num_tokens": sum(lengths),
        "flops_per_s": {side: flops[side] / spent_s for side, spent_s in seconds.items()},
        "texts_per_s": {side: len(lengths) / spent_s for side, spent_s in seconds.items()},
    }


def _said(command: Sequence[str], given: str, environment: Mapping[str, str]) -> dict[str, Any]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env=inherited | dict(environment) | {"PYTHONPATH": str(ROOT)},
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"the forward pass alone took over {_TIMEOUT_S:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        said = lines[-1] if lines else "it said nothing"
        raise ServerError(f"the forward pass alone cannot be measured: {said}") from error
    told: dict[str, Any] = json.loads(done.stdout)
    return told
