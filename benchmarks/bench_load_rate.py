"""How fast one core of the load generator can send on time, against a server that does nothing.

    python benchmarks/bench_load_rate.py [--rates 1000,1500,..] [--seconds 10] [--repeats 5] [--out FILE]

The null server gets a core and the generator another, with the command that shows its progress
(``--server-cpu``, ``--load-cpu``). A rate is met when the 99th percentile of lateness is at most 5 ms;
required is 1,000 a second, the goal 1,500. The null server must not be what is measured: its own limit is
taken first, by a client that only floods it. Where the host steals more than 1 % of the generator's core, or
other processes keep it waiting for 2 % of the time, a repeat is marked as not quiet: met all the same it is
met, missed it says nothing. ``--quick`` tries it in seconds. ``--at-most S`` ends early with status 75; the
next call goes on from there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]  # ships no types

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.load_record import UNFINISHED, Budget, LoadRecord, markdown_table
from loadtest.driver.run import RunOptions, run
from loadtest.driver.wire import encode_body, encode_request, parse_target, predict_path
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import every, null_server, write_arm, write_trace

if TYPE_CHECKING:
    from tests.loadtest.driver_world import World

LATENESS_BOUND_S = 0.005
STEAL_BOUND_RATIO = 0.01
WAIT_BOUND_RATIO = 0.02
REQUIRED_PER_S, GOAL_PER_S = 1_000, 1_500
MIN_CORES = 2
FLOOD_CLIENTS = 16
FLOOD_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run at one rate; times in seconds. ``server_cpu_ratio``: of the server's core."""

    rate_per_s: int
    repeat: int
    achieved_per_s: float
    lateness_p50_s: float
    lateness_p99_s: float
    lateness_max_s: float
    service_p50_s: float
    service_p99_s: float
    hub_delay_p99_s: float
    generator_cpu_ratio: float
    cpu_us_a_request: float
    server_cpu_ratio: float
    wait_ratio: float | None
    steal_ratio: float | None
    num_failed: int
    num_requests: int

    @property
    def quiet(self) -> bool:
        """Whether the host and its other processes left the generator's core to it."""
        if self.steal_ratio is None or self.wait_ratio is None:
            return False
        return self.steal_ratio <= STEAL_BOUND_RATIO and self.wait_ratio <= WAIT_BOUND_RATIO

    @property
    def met(self) -> bool:
        """Whether the rate was sent on time."""
        return self.lateness_p99_s <= LATENESS_BOUND_S and not self.num_failed


def measure(world: World, rate: int, repeat: int, arguments: argparse.Namespace) -> Row:
    """Send ``rate`` requests a second for a while, and return what was seen."""
    server = psutil.Process(world.process.pid)
    with tempfile.TemporaryDirectory(prefix="bench_load_rate_") as name:
        folder = Path(name)
        times_us = every(1 / rate, rate * arguments.seconds)
        options = RunOptions(
            trace=write_trace(folder / "trace", times_us, law=f"constant:{rate}"),
            target=world.url,
            arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
            out=folder / "out",
            processes=arguments.processes,
        )
        before = sum(server.cpu_times()[:2])
        run(options)
        served_s = sum(server.cpu_times()[:2]) - before
        samples = read_samples(options.out)
        gauges = json.loads((options.out / "run.json").read_text(encoding="utf-8"))["gauges"]
    lateness_s = (samples["sent_us"] - samples["intended_us"]) / 1e6
    service_s = (samples["done_us"] - samples["sent_us"]) / 1e6
    sent_us = samples["sent_us"].to_numpy()
    span_s = float(sent_us.max() - sent_us.min()) / 1e6
    cpu_ratio = gauges["generator_cpu_ratio"]
    return Row(
        rate_per_s=rate,
        repeat=repeat,
        achieved_per_s=(samples.height - 1) / span_s,
        lateness_p50_s=_percentile(lateness_s, 0.5),
        lateness_p99_s=_percentile(lateness_s, 0.99),
        lateness_max_s=_percentile(lateness_s, 1.0),
        service_p50_s=_percentile(service_s, 0.5),
        service_p99_s=_percentile(service_s, 0.99),
        hub_delay_p99_s=gauges["hub_delay_p99_s"],
        generator_cpu_ratio=cpu_ratio,
        cpu_us_a_request=1e6 * cpu_ratio * arguments.processes / rate,
        server_cpu_ratio=served_s / span_s,
        wait_ratio=gauges["generator_wait_ratio"],
        steal_ratio=gauges["steal_ratio"],
        num_failed=samples["error"].len() - samples["error"].null_count(),
        num_requests=samples.height,
    )


def _percentile(values: Any, p: float) -> float:
    return float(values.quantile(p, interpolation="higher"))


def flood(world: World, cpu: int) -> dict[str, float]:
    """Return what the null server itself can do: answers a second, and its processor time an answer."""
    server = psutil.Process(world.process.pid)
    before = sum(server.cpu_times()[:2])
    context = get_context("spawn")
    with context.Pool(1) as pool:
        answers, seconds = pool.apply(_flood, (world.url, cpu))
    spent_s = sum(server.cpu_times()[:2]) - before
    return {
        "answers_per_s": answers / seconds,
        "server_cpu_ratio": spent_s / seconds,
        "server_us_an_answer": 1e6 * spent_s / answers,
    }


def _flood(url: str, cpu: int) -> tuple[int, float]:
    """Keep one request outstanding on each of some connections, by plain blocking sockets."""
    os.sched_setaffinity(0, {cpu})
    target, parts = parse_target(url), urlsplit(url)
    request = encode_request(target, predict_path("v.xnli"), encode_body([{"text": "t"}], {}))
    with contextlib.ExitStack() as stack:
        where = (str(parts.hostname), int(parts.port or 0))
        clients = [stack.enter_context(socket.create_connection(where)) for _ in range(FLOOD_CLIENTS)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(request)
        answers, begun_at = 0, time.monotonic()
        while time.monotonic() - begun_at < FLOOD_S:
            for client in clients:  # an answer of the null server comes in one piece
                client.recv(65_536)
                client.sendall(request)
                answers += 1
        return answers, time.monotonic() - begun_at


def table_of(rows: list[Row]) -> str:
    """Return a line a rate: medians over its repeats, with the worst beside those that decide."""
    heads = ["rate/s", "repeats", "quiet", "met", "sent/s", "late p50 ms", "late p99 ms (least-most)"]
    heads += ["hub p99 ms", "service p99 ms", "generator", "us a request", "server", "waited", "steal"]
    lines = []
    for rate in sorted({row.rate_per_s for row in rows}):
        of = [row for row in rows if row.rate_per_s == rate]
        late = sorted(1e3 * row.lateness_p99_s for row in of)
        lines.append(
            [
                f"{rate:,}",
                str(len(of)),
                str(sum(row.quiet for row in of)),
                str(sum(row.met for row in of)),
                f"{median(row.achieved_per_s for row in of):,.0f}",
                f"{1e3 * median(row.lateness_p50_s for row in of):.2f}",
                f"{median(late):.2f} ({late[0]:.2f}-{late[-1]:.2f})",
                f"{1e3 * median(row.hub_delay_p99_s for row in of):.2f}",
                f"{1e3 * median(row.service_p99_s for row in of):.2f}",
                f"{median(row.generator_cpu_ratio for row in of):.0%}",
                f"{median(row.cpu_us_a_request for row in of):.0f}",
                f"{median(row.server_cpu_ratio for row in of):.0%}",
                _share([row.wait_ratio for row in of]),
                _share([row.steal_ratio for row in of]),
            ]
        )
    return markdown_table(heads, lines)


def _share(ratios: list[float | None]) -> str:
    known = [ratio for ratio in ratios if ratio is not None]
    return f"{median(known):.1%}" if known else "?"


def best_of(rows: list[Row]) -> int:
    """Return the highest rate met by most of the repeats that can tell; 0 where there is none.

    A repeat that was met tells, quiet or not: noise makes lateness worse. One that was missed tells if quiet.
    """
    best = 0
    for rate in {row.rate_per_s for row in rows}:
        tells = [row for row in rows if row.rate_per_s == rate and (row.met or row.quiet)]
        met = sum(row.met for row in tells)
        if 2 * met > len(tells):
            best = max(best, rate)
    return best


def verdict(rows: list[Row]) -> str:
    """Say whether the required rate and the goal were met, and the highest rate that was."""
    if not any(row.met or row.quiet for row in rows):
        return "No repeat can tell anything: none was met, and none was quiet."
    best = best_of(rows)
    tried = max(row.rate_per_s for row in rows)
    missed = [row for row in rows if not row.met]
    noisy = sum(not row.quiet for row in missed)
    return (
        f"Required, {REQUIRED_PER_S:,} a second with lateness p99 at most {1e3 * LATENESS_BOUND_S:.0f} ms: "
        f"{_word(best, REQUIRED_PER_S, tried)}. "
        f"Goal, {GOAL_PER_S:,} a second: {_word(best, GOAL_PER_S, tried)}. "
        f"Highest rate tried that most repeats met: {best:,} a second. {len(missed)} of {len(rows)} repeats "
        f"missed the bound, {noisy} of them not quiet (other processes or the host held the core)."
    )


def _word(best: int, wanted: int, tried: int) -> str:
    if best >= wanted:
        return "met"
    return "**missed**" if tried >= wanted else "not tried"


def describe(limit: dict[str, float]) -> str:
    """Say what the null server itself can do."""
    return (
        f"The null server alone: {limit['answers_per_s']:,.0f} answers a second to a client that only "
        f"floods it ({limit['server_us_an_answer']:.0f} us of its core an answer)."
    )


def page(record: LoadRecord, limit: dict[str, float], seconds: int) -> str:
    """Return the verdict, and write the page with it."""
    names = Row.__dataclass_fields__
    rows = [Row(**{name: row[name] for name in names}) for row in record.rows]
    said, table = verdict(rows), table_of(rows)
    record.write_page(
        "Rates that one core sends on time",
        f"One generator process on one core, a server that does nothing on another, constant arrivals, "
        f"{seconds} s a repeat, repeats of all rates in turn. {said}",
        table,
        f"{describe(limit)} Medians over repeats. *generator* and *server*: of a core. *waited*: share of "
        "the time that the generator was ready to run and had no core. *quiet*: waited at most "
        f"{WAIT_BOUND_RATIO:.0%}, steal at most {STEAL_BOUND_RATIO:.0%}. *late*: from the intended instant "
        "to just before the send. *hub*: how late a heartbeat on the same event loop ran.",
    )
    return f"{table}\n\n{describe(limit)}\n{said}"


def main() -> int:
    """Measure every rate, repeats in turn, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rates", default="1000,1500,2000,3000")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--server-cpu", type=int, default=1)
    parser.add_argument("--load-cpu", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one repeat of 3 s at 500 and 1,000: a try")
    parser.add_argument("--at-most", type=float, help="seconds that this call may take")
    parser.add_argument("--out", type=Path, help="JSON with every row; its page goes beside it")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rates, arguments.seconds, arguments.repeats = "500,1000", 3, 1
    if len(os.sched_getaffinity(0)) < MIN_CORES:
        sys.stderr.write("This needs two cores: one for the server, one for the generator.\n")
        return 2
    settings = {
        name: getattr(arguments, name) for name in ("rates", "seconds", "repeats", "processes", "quick")
    }
    record, budget = LoadRecord(arguments.out, settings), Budget(arguments.at_most)
    todo = [(repeat, int(rate)) for repeat in range(arguments.repeats) for rate in arguments.rates.split(",")]
    unfinished = False
    with null_server(blind=True) as world:
        os.sched_setaffinity(world.process.pid, {arguments.server_cpu})
        limit = flood(world, arguments.load_cpu)
        os.sched_setaffinity(0, {arguments.load_cpu})
        for repeat, rate in todo:
            if record.has(rate_per_s=rate, repeat=repeat):
                continue
            if not budget.allows_another():
                unfinished = True
                break
            sys.stderr.write(f"repeat {repeat + 1} of {arguments.repeats}: {rate:,} a second\n")
            record.add(asdict(measure(world, rate, repeat, arguments)))
    record.save(null_server=limit)
    sys.stdout.write(f"{page(record, limit, arguments.seconds)}\n")
    return UNFINISHED if unfinished else 0


if __name__ == "__main__":
    sys.exit(main())
