"""New runs against old ones: paired by replicate, refused where they are not alike, judged where they are."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from loadtest.analysis.equivalence import Verdict
from loadtest.report.records import ArmSummary, Goodput, ServedVariant
from loadtest.study.against_baseline import against, read_runs
from loadtest.study.measures import Measure
from loadtest.study.study_file import MarginsTable, StudyError
from tests.loadtest.study.made_up import group, summary

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.report.records import Summary
    from loadtest.study.against_baseline import Against


def runs(ratio: float, law: str = "poisson:40", num: int = 6, *, valid: bool = True) -> list[Summary]:
    """Return replicates ``ratio`` times as slow as ten milliseconds, each a hair apart."""
    found = []
    for k in range(num):
        seconds = 0.01 * ratio * (1 + 0.002 * (-1) ** k)
        seen = group(seconds, 3 * seconds, inputs_per_s=1 / seconds, in_time=1.0)
        made = summary(seen, reasons=() if valid else ("late",))
        found.append(
            made.model_copy(update={"trace": {"law": law, "seed": k}, "environment": {"num_cores": 2}})
        )
    return found


def compared(old: list[Summary], new: list[Summary]) -> Against:
    return against(old, new, MarginsTable(), np.random.default_rng(1))


def words(found: Against) -> dict[Measure, Verdict]:
    return {change.measure: change.found.verdict for change in found.changes if change.found is not None}


def test_replicates_that_are_slower_are_a_regression_and_equal_ones_are_not() -> None:
    slower = compared(runs(1.0), runs(1.2))
    assert words(slower) == {
        Measure.P50: Verdict.SLOWER,
        Measure.P95: Verdict.SLOWER,
        Measure.P99: Verdict.SLOWER,
        Measure.GOODPUT: Verdict.EQUIVALENT,
    }
    assert [change.measure for change in slower.regressed] == [Measure.P50, Measure.P95, Measure.P99]
    assert slower.changes[0].ratio == pytest.approx(1.2)
    equal = compared(runs(1.0), runs(1.0))
    assert set(words(equal).values()) == {Verdict.EQUIVALENT}
    assert not equal.regressed
    assert not equal.open


def test_an_open_loops_throughput_is_no_verdict_and_an_offline_runs_is() -> None:
    assert not {Measure.OFFLINE_INPUTS, Measure.OFFLINE_TOKENS} & set(words(compared(runs(1.0), runs(1.2))))
    offline = compared(runs(1.0, "offline"), runs(1.2, "offline"))
    assert words(offline) == {
        Measure.OFFLINE_INPUTS: Verdict.SLOWER,
        Measure.OFFLINE_TOKENS: Verdict.SLOWER,
    }
    assert offline.changes[0].ratio == pytest.approx(1 / 1.2)


def test_one_pair_has_a_ratio_and_no_verdict() -> None:
    found = compared(runs(1.0, num=1), runs(1.5, num=1))
    assert set(words(found).values()) == {Verdict.INCONCLUSIVE}
    assert found.open
    assert [change.measure for change in found.beyond(1.4)] == [Measure.P50, Measure.P95, Measure.P99]
    assert found.beyond(1.6) == ()


def test_what_differs_beside_what_is_measured_is_told_once() -> None:
    new = [run.model_copy(update={"environment": {"num_cores": 8}}) for run in runs(1.0)]
    found = compared(runs(1.0), [run.model_copy(update={"trace": {**run.trace, "seed": 9}}) for run in new])
    assert "environment.num_cores: 2 against 8" in found.unlike
    assert sum(text.startswith("environment") for text in found.unlike) == 1
    assert "trace.seed: 0 against 9" in found.unlike


def test_another_mix_of_the_same_items_is_another_trace() -> None:
    old, new = (
        [run.model_copy(update={"trace": {**run.trace, "mix": {"tasks": mix}}}) for run in runs(1.0)]
        for mix in ("items", "uniform")
    )
    assert compared(old, new).unlike == ("trace.mix.tasks: 'items' against 'uniform'",)


def test_other_instants_under_the_same_header_are_another_trace() -> None:
    """As two recordings of one name and length are; a summary of old, without the hash, is not held to it."""

    def sent(digest: str | None) -> list[Summary]:
        told = {} if digest is None else {"arrivals_sha256": digest}
        return [run.model_copy(update={"trace": {**run.trace, **told}}) for run in runs(1.0)]

    assert compared(sent("aa"), sent("bb")).unlike == ("trace.arrivals_sha256: 'aa' against 'bb'",)
    assert compared(sent("aa"), sent("aa")).unlike == compared(sent(None), sent("bb")).unlike == ()


def ratios_of(p50: list[float], p95: list[float]) -> Against:
    """Compare pairs whose log ratios are these, in hundredths."""
    new = [
        summary(group(0.01 * math.exp(a / 100), 0.03 * math.exp(b / 100)))
        for a, b in zip(p50, p95, strict=True)
    ]
    return compared([summary(group(0.01, 0.03))] * len(new), new)


def test_a_gate_of_several_measures_has_one_chance_of_a_false_alarm() -> None:
    """Alone its p-value is below 5 %; as the least of three it is not."""
    slower = [-1.0, 14.0, 2.0, 11.0, 8.0, 3.0]
    even = [9.0, -8.0, 7.0, -9.0, 8.0, -7.0]
    found = ratios_of(slower, even)
    p_value = stats.ttest_1samp(slower, 0).pvalue
    assert 0.05 / 3 < p_value < 0.05
    p50 = found.changes[0].found
    assert p50 is not None
    assert p50.p_difference == pytest.approx(p_value)
    assert p50.verdict is Verdict.INCONCLUSIVE
    assert not found.regressed
    assert [change.measure for change in ratios_of([30.0 + x for x in slower], even).regressed] == [
        Measure.P50
    ]


def at(hour: int, run: Summary) -> Summary:
    return run.model_copy(update={"started": datetime(2026, 1, 1, hour, tzinfo=UTC)})


def test_runs_that_were_not_made_in_turn_are_told() -> None:
    old, new = runs(1.0, num=4), runs(1.0, num=4)
    apart = compared([at(k, run) for k, run in enumerate(old)], [at(9 + k, run) for k, run in enumerate(new)])
    (note,) = apart.notes
    assert note.startswith("all runs of one side were made before those of the other")
    in_turn = [(at(2 * k, a), at(2 * k + 1, b)) for k, (a, b) in enumerate(zip(old, new, strict=True))]
    assert compared([a for a, _ in in_turn], [b for _, b in in_turn]).notes == ()


def serving(runs: list[Summary], arm: str, variant: str) -> list[Summary]:
    """Return the runs as of an arm whose XNLI a variant answers."""
    of_arm = {
        arm: ArmSummary(overall=runs[0].overall, by_task={}, by_language={}, by_task_language={}, bands=())
    }
    variants = (ServedVariant(name=variant, tasks=("xnli",), revision="r"),)
    return [run.model_copy(update={"by_arm": of_arm, "variants": variants}) for run in runs]


@pytest.mark.parametrize(
    ("arm", "variant", "told"),
    [
        ("old", "a.xnli", ()),
        ("new", "a.xnli", ("arm.name: 'old' against 'new'",)),
        ("old", "b.xnli", ("arm.xnli: 'a.xnli' against 'b.xnli'",)),
    ],
)
def test_other_arms_are_told_and_compared(arm: str, variant: str, told: tuple[str, ...]) -> None:
    found = compared(serving(runs(1.0), "old", "a.xnli"), serving(runs(1.0), arm, variant))
    assert (found.arms, found.unlike) == (told, ())


def test_of_packages_only_the_ones_that_differ_are_told() -> None:
    def on(locust: str, **more: str) -> list[Summary]:
        versions = {"packages": {"numpy": "2.4", "locust": locust, **more}}
        return [run.model_copy(update={"environment": versions}) for run in runs(1.0)]

    assert compared(on("2.47"), on("2.48", polars="2.1")).unlike == (
        "environment.packages.locust: '2.47' against '2.48'",
        "environment.packages.polars: None against '2.1'",
    )


def test_goodput_under_another_objective_is_told() -> None:
    new = []
    for run in runs(1.0):
        overall = run.overall.model_copy(update={"goodput": Goodput(objective_s=0.5, per_s=10.0, ratio=1.0)})
        new.append(run.model_copy(update={"overall": overall}))
    assert compared(runs(1.0), new).unlike == ("goodput.objective_s: 0.2 against 0.5",)


def test_a_server_on_other_cores_is_told() -> None:
    new = [run.model_copy(update={"environment": {"num_cores": 2, "server_cpus": "1"}}) for run in runs(1.0)]
    assert compared(runs(1.0), new).unlike == ("environment.server_cpus: None against '1'",)


def test_a_pair_with_a_run_that_is_not_valid_does_not_speak() -> None:
    found = compared(runs(1.0), [*runs(1.0, num=5), *runs(5.0, num=1, valid=False)])
    assert found.num_pairs == 5
    assert not found.regressed
    assert found.notes == ("1 pair is left out, since a run of it is not valid; its summary.json says why",)
    with pytest.raises(StudyError, match="6 runs cannot be paired with 5"):
        compared(runs(1.0), runs(1.0, num=5))


def test_a_folder_of_replicates_is_read_in_order(tmp_path: Path) -> None:
    for k, run in enumerate(runs(1.0, num=2)):
        (tmp_path / f"run-{k}").mkdir()
        (tmp_path / f"run-{k}" / "summary.json").write_text(run.model_dump_json(), encoding="utf-8")
    found = read_runs(tmp_path)
    assert [run.trace["seed"] for run in found] == [0, 1]
    assert math.isclose(found[0].overall.latency_s.p50 or 0.0, 0.01002)
    (tmp_path / "run-1" / "summary.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StudyError, match="of another version"):
        read_runs(tmp_path)
    with pytest.raises(StudyError, match="holds no run"):
        read_runs(tmp_path / "nothing")
