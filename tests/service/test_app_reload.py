"""SIGHUP to the program as it is run: weights change under load, and no request notices but by its answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from models.synthetic import write_checkpoint
from models.tokenizer import TokenizerError, Tokenizers, bundled_file
from models.variant import HeadKind
from service.service import read_tokenizer
from tests.service.backend_world import card
from tests.service.serving import Series, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 240.0
pytestmark = pytest.mark.timeout(900)


def write(folder: Path, *, seed: int) -> None:
    labels = ("a", "b", "c")
    write_checkpoint(folder / f"weights{seed}", head=HeadKind.CLASSIFY, labels=labels, seed=seed)
    entry = f'[[variant]]\nname = "v"\nhead = "classify"\ncheckpoint = "weights{seed}"\n'
    draft = folder / "catalogue.part"
    draft.write_text(entry, encoding="utf-8")
    draft.replace(folder / "catalogue.toml")


@contextmanager
def service(folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx2.Client]]:
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "service", "--catalogue", str(folder / "catalogue.toml")]
    command += ["--device", "cpu", "--torch-threads", "1", "--port", "0", "--ready-file", str(ready)]
    # For how long a request may be under way to old weights, too: more than any pause of a busy machine.
    command += ["--drain-timeout-s", "5", *more]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    try:
        eventually(lambda: ready.is_file() or process.poll() is not None)
        assert process.poll() is None, (folder / "log").read_text(encoding="utf-8")
        url = json.loads(ready.read_text(encoding="utf-8"))["url"]
        with httpx2.Client(base_url=url, timeout=DEADLINE_S) as client:
            yield process, client
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def metric(client: httpx2.Client, name: str, **labels: str) -> float:
    return Series.of(client.get("/metrics").text).sum(name, **labels)


def ask(client: httpx2.Client) -> tuple[str, tuple[float, ...]]:
    reply = client.post("/v1/variants/v/predict", json={"inputs": [{"text": "The train was late."}]})
    assert reply.status_code == 200, reply.text
    said: dict[str, Any] = reply.json()
    return said["revision"], tuple(round(one, 4) for one in said["outputs"][0]["scores"].values())


def log_events(folder: Path) -> list[str]:
    whole, _, _ = (
        (folder / "log").read_text(encoding="utf-8").rpartition("\n")
    )  # the last may be half written
    return [json.loads(line).get("event") for line in whole.splitlines() if line.startswith("{")]


def test_a_tokenizer_whose_file_is_gone_is_used_on(tmp_path: Path) -> None:
    """The variant that was swapped may be another one: it must not take this one down."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(bundled_file().read_bytes())
    known = Tokenizers()
    digest, first = known.read(file)
    one = card("v", tokenizer=str(file), tokenizer_digest=digest)
    file.unlink()
    assert read_tokenizer(one, known) is first
    with pytest.raises(TokenizerError, match="No such file"):
        read_tokenizer(one, Tokenizers())


def test_a_tokenizer_that_was_changed_under_the_weights_is_not_taken_for_theirs(tmp_path: Path) -> None:
    """Else the swap of another variant would cut this one's texts in a new way, for its old weights."""
    file = tmp_path / "tokenizer.json"
    file.write_bytes(bundled_file().read_bytes())
    known = Tokenizers()
    digest, first = known.read(file)
    one = card("v", tokenizer=str(file), tokenizer_digest=digest)
    file.write_bytes(bundled_file().read_bytes() + b"\n")
    assert read_tokenizer(one, known) is first
    with pytest.raises(TokenizerError, match="has changed since the weights of v were loaded"):
        read_tokenizer(one, Tokenizers())


@pytest.mark.parametrize("more", [(), ("--http-workers", "2")], ids=["one process", "two workers"])
def test_a_swap_under_load_drops_no_request_and_mixes_no_answers(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    write(tmp_path, seed=1)
    with service(tmp_path, *more) as (process, client):
        first = ask(client)
        answers, over = [first], threading.Event()

        def keep_asking() -> None:
            with httpx2.Client(base_url=client.base_url, timeout=DEADLINE_S) as own:
                while not over.is_set():
                    answers.append(ask(own))

        asking = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in asking:
            thread.start()
        write(tmp_path, seed=2)
        process.send_signal(signal.SIGHUP)
        # Every front end has the new weights once many answers in a row are theirs.
        eventually(lambda: len({answers[-1], *answers[-60:]}) == 1 and answers[-1] != first)
        eventually(lambda: "old_weights_released" in log_events(tmp_path))
        over.set()
        for thread in asking:
            thread.join(DEADLINE_S)
        # Two sets of weights, two answers, each under its own revision: nothing else was ever said.
        assert len(set(answers)) == 2
        assert len({revision for revision, _ in answers}) == 2
        # What a process counted that is too busy to be asked comes with a later reading.
        eventually(lambda: metric(client, "xlmr_requests_total", outcome="ok") == len(answers))
        assert metric(client, "xlmr_requests_total") == len(answers)
        eventually(lambda: metric(client, "xlmr_variant_loads_total", variant="v", result="ok") == 2.0)
        # What cannot be loaded is told, and the rest goes on.
        with (tmp_path / "catalogue.toml").open("a", encoding="utf-8") as file:
            file.write(f'sha256 = "{"0" * 64}"\n')
        process.send_signal(signal.SIGHUP)
        eventually(lambda: metric(client, "xlmr_variant_loads_total", variant="v", result="failed") == 1.0)
        assert ask(client) == answers[-1]
    assert process.returncode == 0
    events = log_events(tmp_path)
    assert [event for event in events if event in ("variant_swapped", "variant_load_failed")] == [
        "variant_swapped",
        "variant_load_failed",
    ]
