"""Whole runs against a null server: Locust in a process of its own, real sockets, few requests."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest

from loadtest.driver.errors import TargetError, UsageError
from loadtest.driver.outcome import Status
from loadtest.driver.run import RunOptions, Silence, run
from loadtest.report.summary import write_summary
from loadtest.trace.embeddings import read_candidates, read_queries
from loadtest.trace.samples import read_samples
from tests.loadtest.driver_world import (
    CARD,
    EMBED_CARD,
    every,
    null_server,
    places_between_shards,
    write_arm,
    write_trace,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from loadtest.driver.finish import RunResult
    from loadtest.driver.progress import Progress
    from tests.loadtest.driver_world import World

pytestmark = pytest.mark.alone


class During(Silence):
    """Calls back with each reading."""

    def __init__(self, act: Callable[[Progress], None]) -> None:
        self._act = act

    def measuring(self, progress: Progress) -> None:
        self._act(progress)


def go(
    world: World, folder: Path, times_us: list[int], **options: Any
) -> tuple[RunResult, pl.DataFrame, dict[str, Any]]:
    """Run a trace of these instants, and return the result, its samples and its record."""
    law = options.pop("law", "constant:50.0")
    show = options.pop("show", None)
    given = RunOptions(
        trace=write_trace(folder / "trace", times_us, law=law),
        target=world.url,
        arm=write_arm(folder / "arm.toml", xnli="v.xnli"),
        out=folder / "out",
        **options,
    )
    result = run(given, show)
    return result, read_samples(given.out), json.loads((given.out / "run.json").read_text(encoding="utf-8"))


def latency_s(samples: pl.DataFrame) -> NDArray[np.float64]:
    return (samples["done_us"] - samples["intended_us"]).to_numpy() / 1e6


def lindley(times_us: list[int], service_s: float, stall_at_s: float, stall_s: float) -> NDArray[np.float64]:
    """Return the latencies of one serial server that stalls once, by Lindley's recursion."""
    free_at, stalled, latencies = 0.0, False, []
    for t_us in times_us:
        at = t_us / 1e6
        if not stalled and at - times_us[0] / 1e6 >= stall_at_s:
            stalled, free_at = True, max(at, free_at) + stall_s
        free_at = max(at, free_at) + service_s
        latencies.append(free_at - at)
    return np.asarray(latencies)


def test_two_processes_send_exactly_the_schedule(tmp_path: Path) -> None:
    """A thousand a second for two seconds."""
    times_us = every(0.001, 2_000)
    with null_server() as world:
        result, samples, record = go(
            world, tmp_path, times_us, processes=2, replicate=3, command=("xlmr-load", "run")
        )
        asked = world.asked()
    assert sorted(asked) == sorted(f"text {i}" for i in range(2_000))
    assert (result.status, result.num_recorded, result.num_workers_lost) == (Status.COMPLETE, 2_000, 0)
    assert samples["i"].to_list() == list(range(2_000))
    assert samples["intended_us"].to_list() == times_us
    assert samples["item"].to_list() == [f"xnli/sw/{i}" for i in range(2_000)]
    assert samples.select(
        pl.col("status", "error", "censored", "arm", "replicate", "variant").unique()
    ).rows() == [(200, None, False, "arm-a", 3, "v.xnli")]
    assert samples["tokens"].to_list() == [7] * 2_000
    assert json.loads(samples["answer"][0])["label"] == "neutral"
    assert (samples["sent_us"] >= samples["intended_us"]).all()
    lateness_us = (samples["sent_us"] - samples["intended_us"]).to_numpy()
    # A busy machine makes some requests late, not all of a worker's.
    assert max(lateness_us[shard::2].min() for shard in (0, 1)) < 50_000
    assert abs(places_between_shards(asked)) < 50, "workers do not share one start to within 50 ms"
    assert len({worker["identity"]["pid"] for worker in record["workers"]}) == 2
    assert record["command"] == "xlmr-load run"
    gauges = record["gauges"]
    assert (gauges["num_scheduled"], gauges["num_workers"], gauges["changed_weights"]) == (2_000, 2, [])
    assert 0 < gauges["generator_cpu_ratio"] < 1
    assert abs(gauges["clock_drift_ratio"]) < 0.01
    assert gauges["hub_delay_p99_s"] > 0
    assert record["environment"]["packages"]["locust"]
    assert not (tmp_path / "out" / "parts").exists()


def test_a_stall_shows_in_an_open_loop_and_hides_in_a_closed_one(tmp_path: Path) -> None:
    """The stall's latencies are those of Lindley's recursion; ten clients that wait hardly see it."""
    stall = {"service_s": 0.004, "stall_at_s": 0.5, "stall_s": 2.0}
    times_us = every(0.02, 200)
    with null_server(**stall) as world:
        _, samples, _ = go(world, tmp_path / "open", times_us)
    seen, true = latency_s(samples), lindley(times_us, **stall)
    lateness_s = (samples["sent_us"] - samples["intended_us"]).to_numpy() / 1e6
    assert np.median(lateness_s) < 0.1, "the loop is not open"
    # By as much as the machine held up a request, the recursion holds later for all behind it.
    held_up_s = (samples["done_us"] - samples["sent_us"]).to_numpy() / 1e6 - samples[
        "total_ms"
    ].to_numpy() / 1e3
    slack_s = 0.1 + lateness_s.max() + held_up_s.max()
    for p in (0.5, 0.75, 0.95):
        expected = np.quantile(true, p, method="inverted_cdf")
        assert np.quantile(seen, p, method="inverted_cdf") == pytest.approx(expected, abs=slack_s)
    assert np.quantile(seen, 0.95, method="inverted_cdf") > 1.5
    with null_server(**stall) as world:
        _, closed, _ = go(world, tmp_path / "closed", [0] * 400, law="closed:10")
    assert np.quantile(latency_s(closed), 0.95, method="inverted_cdf") < stall["stall_s"] / 2
    assert latency_s(closed).max() > 1.9


def test_the_split_of_a_request_adds_up_to_its_latency(tmp_path: Path) -> None:
    with null_server(service_s=0.02) as world:
        _, samples, _ = go(world, tmp_path, every(0.01, 40))
    us = 1e3
    stages_us = sum(samples[f"{stage}_ms"] for stage in ("tokenize", "queue", "infer", "decode")) * us
    assert (stages_us - samples["total_ms"] * us).abs().max() < 1.0  # type: ignore[operator]  # a number here
    lateness_us = samples["sent_us"] - samples["intended_us"]
    network_us = samples["done_us"] - samples["sent_us"] - samples["total_ms"] * us
    assert network_us.min() > 0  # type: ignore[operator]  # a number here
    whole_us = lateness_us + network_us + stages_us
    assert (whole_us - (samples["done_us"] - samples["intended_us"])).abs().max() < 1.0  # type: ignore[operator]
    assert samples["queue_ms"].max() > 100  # type: ignore[operator]  # they came twice as fast as they were served


def test_garbage_is_no_answer_and_changed_weights_are_named(tmp_path: Path) -> None:
    with null_server(fault="garbage", fault_every=2, change_after=10) as world:
        _, samples, record = go(world, tmp_path, every(0.02, 40))
    bad = samples.filter(pl.col("error") == "bad answer: not json")
    assert bad.height == 20
    assert bad["status"].unique().to_list() == [200]
    assert bad["answer"].null_count() == 20
    assert samples.filter(pl.col("error").is_null()).height == 20
    assert record["gauges"]["changed_weights"] == ["v.xnli"]
    assert not write_summary(tmp_path / "out").valid


def test_a_target_that_dies_midway_is_told_in_every_row(tmp_path: Path) -> None:
    with null_server() as world:

        def kill(progress: Progress) -> None:
            if progress.num_done > 20:
                world.process.kill()

        result, samples, record = go(world, tmp_path, every(0.02, 150), show=During(kill))
    assert samples.height == 150
    assert result.num_recorded == 150
    refused = samples.filter(
        pl.col("error").is_in(["connection refused", "connection reset", "connection closed"])
    )
    assert 0 < refused.height == samples["error"].len() - samples["error"].null_count()
    assert not refused["censored"].any()
    assert refused["status"].null_count() == refused.height
    assert "After the run" in result.message
    assert record["gauges"]["changed_weights"] is None


def embed_options(world: World, folder: Path, out: str, trace: Path) -> RunOptions:
    return RunOptions(
        trace=trace,
        target=world.url,
        arm=write_arm(folder / "arm.toml", tatoeba="v.tatoeba"),
        out=folder / out,
        index=folder / "index",
    )


def test_candidates_are_embedded_once_and_queries_are_timed(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace", every(0.02, 12), candidates=150, task="tatoeba")
    with null_server(variants=[EMBED_CARD], outputs={"v.tatoeba": "embed"}, max_inputs=40) as world:
        run(embed_options(world, tmp_path, "first", trace))
        after_first = world.asked()
        run(embed_options(world, tmp_path, "second", trace))
        after_second = world.asked()
    candidates = [f"candidate {i}" for i in range(150)]
    queries = [f"text {i}" for i in range(12)]
    assert sorted(after_first) == sorted(candidates + queries)
    assert sorted(after_second[len(after_first) :]) == sorted(queries), "the index was made again"
    samples = read_samples(tmp_path / "first")
    assert samples.height == 12
    found = read_candidates(tmp_path / "second", "tatoeba")
    assert found.ids == tuple(f"tatoeba/en/c{i}" for i in range(150))
    assert found.vectors.dtype == np.float32
    assert found.vectors[:, 0].tolist() == [float(len(text)) for text in candidates]
    vectors = read_queries(tmp_path / "first", "tatoeba")
    rows = [int(answer) for answer in samples["answer"]]
    assert vectors[rows, 1].tolist() == [float(ord(text[-1])) for text in queries]
    record = json.loads((tmp_path / "first" / "run.json").read_text(encoding="utf-8"))
    assert record["layers"] == {"tatoeba": {"14": 3}}
    assert "layer 3, as deep in proportion" in record["deviations"][0]


def test_a_service_that_refuses_candidates_is_named_before_the_run(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "trace", every(0.02, 2), candidates=3, task="tatoeba")
    with (
        null_server(variants=[EMBED_CARD], outputs={"v.tatoeba": {"label": "x"}}) as world,
        pytest.raises(TargetError, match="candidate tatoeba/en/c0 has no embedding"),
    ):
        run(embed_options(world, tmp_path, "out", trace))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"processes": 0}, "--processes is 0"),
        ({"timeout_s": 0.0}, "--timeout is 0 s"),
        ({"timeout_s": math.nan}, "--timeout is nan s"),  # no comparison with it is true: it would never end
        ({"timeout_s": math.inf}, "--timeout is inf s"),
        ({"ready_timeout_s": math.nan}, "--ready-timeout is nan s"),
        ({"ready_timeout_s": -1.0}, "--ready-timeout is -1 s"),
        ({"max_inflight": 0}, "--max-inflight is 0"),
        ({"replicate": -1}, "must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    options = RunOptions(trace=tmp_path, target="http://h", arm=tmp_path, out=tmp_path / "out", **change)
    with pytest.raises(UsageError, match=words):
        run(options)


def test_the_head_kind_is_checked_before_the_run(tmp_path: Path) -> None:
    with (
        null_server(variants=[{**CARD, "head": "span"}]) as world,
        pytest.raises(UsageError, match="needs a variant with head classify"),
    ):
        go(world, tmp_path, [0])
    assert not (tmp_path / "out").exists()
