"""The real Prometheus on the loopback, with the committed configuration where it does not name hosts.

Its answers are polled with a deadline: when it scrapes is its own affair.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
import yaml

from tests.deploy.prometheus_rules import FOLDER
from tests.observability.seconds_for_minutes import write_rules
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

SCRAPE_S = 1
# They end what hangs, the second a test with what it is the first to need: not what a busy machine slows.
DEADLINE_S = 180.0
TEST_S = 1800
_POLL_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """A server that runs. Its targets are what files in its folder say, one a job."""

    client: httpx2.Client
    folder: Path
    process: subprocess.Popen[bytes]

    def load_rules(self) -> None:
        """Read the committed rules from now on; the first scrape takes longer than absence may last here."""
        _configure(self.folder, rules=write_rules(self.folder))
        self.process.send_signal(signal.SIGHUP)
        self.wait("the rules are read", lambda: bool(self.values("xlmr:limit_traffic:rate")))

    def set_targets(self, job: str, *addresses: str) -> None:
        """Let a job have these targets, or none."""
        _write_targets(self.folder, job, *addresses)

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return each series that a query gives now, with its value."""
        return [(one["metric"], float(one["value"][1])) for one in self._ask("query", query=query)]

    def sum(self, query: str) -> float:
        """Return the sum of what a query gives now."""
        return math.fsum(value for _, value in self.values(query))

    def has_data(self, query: str, start_s: float, end_s: float) -> bool:
        """Return whether a query gave a number at some second of a time."""
        found = self._ask("query_range", query=query, start=start_s, end=end_s, step=1)
        return any(math.isfinite(float(value)) for series in found for _, value in series["values"])

    def fired(self) -> set[tuple[str, str]]:
        """Return every job and alert that has fired since the start."""
        found = self.values('count by (job, alertname) (last_over_time(ALERTS{alertstate="firing"}[1h]))')
        return {(labels["job"], labels["alertname"]) for labels, _ in found}

    def wait(self, what: str, check: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Ask until it is so."""
        deadline = time.monotonic() + deadline_s
        while not check():
            assert time.monotonic() < deadline, f"not within {deadline_s:.0f} s: {what}"
            time.sleep(_POLL_S)

    def wait_until_data(self, query: str) -> None:
        """Ask until a query gives something."""
        self.wait(query, lambda: bool(self.values(query)))

    def wait_for(self, query: str, expected: float) -> None:
        """Ask until a query's sum is what it must be; say what it was otherwise."""
        with contextlib.suppress(AssertionError):
            self.wait(query, lambda: self.sum(query) == expected)
        assert self.sum(query) == expected, query

    def _ask(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        reply = self.client.post(f"/api/v1/{path}", data=parameters)
        assert reply.status_code == 200, reply.text
        result: list[dict[str, Any]] = reply.json()["data"]["result"]
        return result


def _write_targets(folder: Path, job: str, *addresses: str) -> None:
    """Write a job's targets in one step, since Prometheus reads the file when it changes."""
    path = folder / "targets" / f"{job}.json"
    document = [{"targets": list(addresses), "labels": {"job": job}}] if addresses else []
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(path)


def _configure(folder: Path, *, rules: Sequence[Path] = ()) -> Path:
    """Write the committed configuration, faster, with one scrape job whose targets say their job's name."""
    document: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    document["global"] |= {
        "scrape_interval": f"{SCRAPE_S}s",
        "scrape_timeout": f"{SCRAPE_S}s",
        "evaluation_interval": f"{SCRAPE_S}s",
    }
    document["rule_files"] = [str(path) for path in rules]
    targets = {"files": [str(folder / "targets" / "*.json")], "refresh_interval": f"{SCRAPE_S}s"}
    document["scrape_configs"] = [{"job_name": "tests", "file_sd_configs": [targets]}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(document, width=10_000), encoding="utf-8")
    return path


@contextlib.contextmanager
def prometheus_server(executable: str, folder: Path, **targets: str) -> Iterator[Prometheus]:
    """Run Prometheus on a free port until the block ends. ``targets``: one a job, known from the start."""
    (folder / "targets").mkdir(parents=True)
    for job, address in targets.items():
        _write_targets(folder, job, address)
    address = f"127.0.0.1:{free_port()}"
    command = [
        executable,
        f"--config.file={_configure(folder)}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx2.Client(base_url=f"http://{address}", timeout=DEADLINE_S) as client:
            running = Prometheus(client=client, folder=folder, process=process)
            running.wait("Prometheus is ready", lambda: _is_ready(client, process))
            yield running
    finally:
        process.terminate()
        process.wait(timeout=DEADLINE_S)


def _is_ready(client: httpx2.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "Prometheus ended; see prometheus.log in the test's folder."
    with contextlib.suppress(httpx2.TransportError):
        return client.get("/-/ready").status_code == 200
    return False
