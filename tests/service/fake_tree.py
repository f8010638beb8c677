"""The service in processes of its own on a fake device: `python -m service`, without torch or weights.

Started as `python -m tests.service.fake_tree GATE NAME=VALUE ..`, with settings by name. A variant "v"
classifies, "t" tags, "s" finds spans, "c" chooses, "e" embeds. GATE is a file: whoever holds a lock on it
keeps batches from running. The catalogue is never read; refused.toml cannot be served, deadly.toml kills,
mute.toml has no tokenizer.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from models.tokenizer import bundled_file
from service.engine.fake import FakeDevice
from service.errors import StartupError
from service.observability.logs import configure_logs
from service.processes.supervisor import supervise
from service.server import serve
from service.settings import read_settings
from tests.service.backend_world import card

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from service.batching.packing import PackedBatch
    from service.domain import Lane

HEADS = {"v": "classify", "t": "tag", "s": "span", "c": "choose", "e": "embed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDevice(FakeDevice):
    """A fake device whose batches wait until nobody holds the lock on a file."""

    gate: Path

    def forward(self, lane: Lane, batch: PackedBatch) -> NDArray[np.float32]:
        """Wait, then answer in closed form."""
        with self.gate.open("ab") as file:  # its length tells how many batches have come
            file.write(b".")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_SH)
        return FakeDevice.forward(self, lane, batch)


def fake_device(hidden_size: int = 256) -> FakeDevice:
    tokenizer = str(bundled_file())
    cards = [card(name, head, tokenizer=tokenizer, hidden_size=hidden_size) for name, head in HEADS.items()]
    return FakeDevice(variants=cards)


def locked_device(gate: Path, catalogue: str, hidden_size: int) -> LockedDevice:
    match catalogue:
        case "refused.toml":
            raise StartupError(f"The fake device does not serve {catalogue}.")
        case "deadly.toml":
            os.kill(os.getpid(), signal.SIGKILL)
        case "mute.toml":
            return LockedDevice(variants=[card("v", tokenizer="nowhere/tokenizer.json")], gate=gate)
    return LockedDevice(variants=fake_device(hidden_size).variants, gate=gate)


def main() -> None:
    gate, *options = sys.argv[1:]
    fixed = {"catalogue": "unused.toml", "port": "0", "canary_interval_s": "0", "max_batch_tokens": "2048"}
    fixed |= {"max_prefetched_batches": "0"}  # what waits is in the queue, and counted there
    given = dict(option.split("=", 1) for option in options)
    hidden_size = int(given.pop("hidden_size", "256"))
    settings = read_settings(**(fixed | given))
    configure_logs(level=settings.log_level, form=settings.log_format, stream=sys.stdout)
    run = serve if settings.http_workers == 1 else supervise
    try:
        run(settings, make_device=partial(locked_device, Path(gate), str(settings.catalogue), hidden_size))
    except StartupError as error:
        typer.echo(f"xlmr-serve: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
