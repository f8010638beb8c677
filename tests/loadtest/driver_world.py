"""A small world to drive in tests: a null server as a process, and traces and arms written by hand."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from loadtest.driver.plan import Mode, Plan
from loadtest.trace.items import Gold, Item, Role, write_gold, write_items
from loadtest.trace.schedule import Arrival, Header, write_schedule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NULL_SERVER = Path(__file__).with_name("null_server.py")
NLI = ["contradiction", "entailment", "neutral"]
CARD = {
    "name": "v.xnli",
    "head": "classify",
    "labels": NLI,
    "revision": "r1",
    "digest": "d1",
    "dtype": "float32",
    "num_layers": 4,
    "synthetic": True,
}
EMBED_CARD = {**CARD, "name": "v.tatoeba", "head": "embed", "labels": []}


def open_plan(**changes: Any) -> Plan:
    """Return a plan of an open loop that asks for nothing yet."""
    nothing = Plan(
        target="http://h:1",
        arm="a",
        replicate=0,
        mode=Mode.OPEN,
        max_inflight=None,
        timeout_s=1.0,
        variants={},
        layers={},
        schedule_sha256="x",
    )
    return replace(nothing, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A target that runs, and what to send it."""

    url: str
    process: subprocess.Popen[bytes]

    def asked(self) -> list[str]:
        """Return the texts of every predict call so far, in order."""
        with urllib.request.urlopen(f"{self.url}/asked", timeout=60) as reply:  # noqa: S310 - the test's own server
            asked: list[str] = json.load(reply)
        return asked


@contextlib.contextmanager
def null_server(**options: Any) -> Iterator[World]:
    """Serve on a free port of the loopback until the block ends."""
    options.setdefault("variants", [CARD])
    process = subprocess.Popen(
        [sys.executable, str(NULL_SERVER), json.dumps(options)], stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        scheme = "https" if options.get("tls") else "http"
        yield World(url=f"{scheme}://127.0.0.1:{port}", process=process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def write_trace(
    folder: Path,
    times_us: Sequence[int],
    *,
    law: str = "constant:50.0",
    candidates: int = 0,
    task: str = "xnli",
) -> Path:
    """Write a trace with one item an arrival, each with a text of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    embeds = task == "tatoeba"
    items = [
        Item(
            id=f"{task}/sw/{i}",
            task=task,
            language="sw",
            role=Role.QUERY if embeds else Role.ITEM,
            input={"text": f"text {i}"} if embeds else {"text": f"text {i}", "text_pair": "pair"},
            parameters={"layer": 14} if embeds else {},
        )
        for i in range(len(times_us))
    ]
    items += [
        Item(
            id=f"{task}/en/c{i}",
            task=task,
            language="en",
            role=Role.CANDIDATE,
            input={"text": f"candidate {i}"},
            parameters={"layer": 14},
        )
        for i in range(candidates)
    ]
    gold = [Gold(id=item.id, gold="neutral") for item in items if item.role is not Role.CANDIDATE]
    header = Header(
        name="hand-made",
        law=law,
        duration_s=max(times_us, default=0) / 1e6 + 0.02,
        seed=7,
        num_items=len(items),
        num_candidates=candidates,
        num_arrivals=len(times_us),
        items_sha256=write_items(folder / "items.jsonl", items),
        gold_sha256=write_gold(folder / "gold.jsonl", gold),
        mix={},
        selection={},
        options={},
        sources=(),
        version="test",
    )
    arrivals = (Arrival(i=i, t_us=t_us, item=items[i].id) for i, t_us in enumerate(times_us))
    write_schedule(folder / "schedule.jsonl", header, arrivals)
    return folder


def write_arm(path: Path, **variants: str) -> Path:
    """Write an arm that sends each task to the variant given for it."""
    lines = ['name = "arm-a"', "[variants]", *(f'{task} = "{name}"' for task, name in variants.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def places_between_shards(asked: Sequence[str]) -> float:
    """Return by how many requests the second of two workers is behind the first, as the server saw them.

    A worker counts from its own start, so one that began later shows in no sample; here it does: the texts
    ("text 7") came in another order than they were due.
    """
    ahead = [[place - i for place, i in enumerate(map(_number, asked)) if i % 2 == shard] for shard in (0, 1)]
    return median(ahead[1]) - median(ahead[0])


def _number(text: str) -> int:
    return int(text.removeprefix("text "))


def every(interval_s: float, count: int) -> list[int]:
    """Return instants at a constant rate, in microseconds."""
    return [round(i * interval_s * 1e6) for i in range(count)]
