"""Which runs a study's page pools, and what it draws of the study's record."""

from __future__ import annotations

import json
import math
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.report.chart_forest import forest_figure, shorten
from loadtest.report.chart_sweep import sweep_figure
from loadtest.report.chart_tokens import tokens_figure
from loadtest.report.html import write_report
from loadtest.report.page import comparison_tables
from loadtest.report.ratio_map import ratio_map
from loadtest.report.run_files import ReportError
from loadtest.report.study_files import choose_runs, read_record, read_study, save_study
from loadtest.report.study_record import Interval, Margin, Phase, StudyRecord, StudyRun, TokenFitWithout
from loadtest.report.summary import read_summary

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def record(reported_study: Path) -> StudyRecord:
    return read_record(reported_study / "study.json")


def run(path: str, phase: Phase = Phase.PAIR, **more: Any) -> StudyRun:
    return StudyRun(path=path, arm="a", phase=phase, replicate=0, **more)


def chosen(record: StudyRecord, *runs: StudyRun) -> list[str]:
    return [one.path for one in choose_runs(record.model_copy(update={"runs": runs}))[0]]


def test_only_pairs_at_the_load_of_the_primary_comparisons_are_pooled(record: StudyRecord) -> None:
    runs = (
        run("aa", Phase.AA, load_ratio=0.6),
        run("low", load_ratio=0.3),
        run("primary", load_ratio=0.6),
        run("high", load_ratio=0.8),
        run("probe", Phase.CAPACITY, rate_per_s=60.0),
    )
    assert chosen(record, *runs) == ["primary"]
    assert chosen(record.model_copy(update={"comparisons": ()}), *runs) == ["high"]


def test_runs_that_are_not_valid_are_left_out_unless_none_is_left(record: StudyRecord) -> None:
    good, bad = run("good", load_ratio=0.6), run("bad", load_ratio=0.6, valid=False)
    assert chosen(record, good, bad) == ["good"]
    assert chosen(record, bad) == ["bad"]
    pooling = choose_runs(record.model_copy(update={"runs": (good, bad)}))[1]
    assert pooling.num_left_out == 1
    assert "1 run that are not valid" not in pooling.sentence
    assert "1 run that is not valid is left out" in pooling.sentence


def test_figures_of_an_arm_without_a_valid_run_are_called_what_they_are(
    record: StudyRecord, reported_study: Path, tmp_path: Path
) -> None:
    runs = (
        run("bad", load_ratio=0.6, valid=False),
        run("good", load_ratio=0.6).model_copy(update={"arm": "b"}),
        run("late", load_ratio=0.6, valid=False).model_copy(update={"arm": "b"}),
    )
    pooling = choose_runs(record.model_copy(update={"runs": runs}))[1]
    assert (pooling.num_left_out, pooling.arms_without_valid) == (1, ("a",))
    assert pooling.sentence.endswith(
        "1 run that is not valid is left out. No run of a is valid, and they are pooled all the same."
    )

    folder, reference = tmp_path / "study", record.reference
    shutil.copytree(reported_study, folder)
    for one in (one for one in record.runs if one.arm == reference):
        path = folder / one.path / "run.json"
        told = json.loads(path.read_text())
        told["outcome"]["status"] = "interrupted"
        path.write_text(json.dumps(told))
    every = tuple(
        one.model_copy(update={"valid": one.arm != reference, "reasons": ("late",)}) for one in record.runs
    )
    save_study(folder, record.model_copy(update={"runs": every}))
    write_report(folder)
    page = (folder / "report.html").read_text()
    assert f"No run of {reference} is valid. They are pooled below all the same" in page
    assert "left out of the pooled figures" not in page


def test_a_study_without_pairs_shows_what_it_has(record: StudyRecord) -> None:
    assert chosen(record, run("x", Phase.OFFLINE), run("idle", Phase.UNLOADED)) == ["x"]
    assert chosen(record, run("idle", Phase.UNLOADED)) == ["idle"]


def test_a_study_without_runs_or_with_a_damaged_record_is_refused(
    record: StudyRecord, tmp_path: Path
) -> None:
    save_study(tmp_path, record.model_copy(update={"runs": ()}))
    with pytest.raises(ReportError, match="names no run"):
        read_study(tmp_path)
    (tmp_path / "study.json").write_text(json.dumps({"schema": "xlmr-study/1", "name": 7}))
    with pytest.raises(ReportError, match=r"study\.json is no record of a study: name"):
        read_study(tmp_path)


def test_a_record_survives_writing_and_reading(record: StudyRecord, tmp_path: Path) -> None:
    assert read_record(save_study(tmp_path, record)) == record


def test_arms_are_pooled_over_their_runs_and_apart_from_each_other(reported_study: Path) -> None:
    summary = read_summary(reported_study)
    assert list(summary.by_arm) == ["english-intermediate", "multilingual-intermediate"]
    assert [arm.overall.n for arm in summary.by_arm.values()] == [800, 800]
    assert summary.overall.n == 1600
    assert summary.overall.quality is None  # a mean over arms would say nothing
    assert all(arm.overall.quality is not None for arm in summary.by_arm.values())
    assert summary.makespan_s is not None
    for arm in summary.by_arm.values():
        assert arm.overall.throughput_per_s == pytest.approx(40, rel=0.1)  # not 20, not 80


def test_the_forest_has_every_comparison_but_single_cells(record: StudyRecord) -> None:
    figure = forest_figure(record)
    assert figure is not None
    for comparison in record.comparisons:
        is_cell = comparison.task is not None and comparison.language is not None
        assert (f"{comparison.name}: ratio" in figure.alternative) is not is_cell
    assert "positive control (20 % slower)" in figure.alternative
    assert "A/A p95 latency" in figure.alternative
    ratio = math.exp(record.comparisons[0].log_ratio or 0.0)
    assert f"{record.comparisons[0].name}: ratio {ratio:.3f}" in figure.alternative


def test_the_forest_says_which_side_is_slower(record: StudyRecord) -> None:
    mixed = forest_figure(record)
    times = [one for one in record.comparisons if "latency" in one.measure]
    timed = forest_figure(record.model_copy(update={"comparisons": times, "capacity_ratio": None}))
    assert mixed is not None
    assert timed is not None
    assert "of latencies, an arm to the right of it is slower; of rates" in mixed.caption
    assert "to the left of it is slower" not in timed.caption


def test_tokens_are_told_with_and_without_the_farthest_language(record: StudyRecord) -> None:
    without = TokenFitWithout(language="yo", r_squared=0.42)
    figure = tokens_figure([fit.model_copy(update={"without": without}) for fit in record.token_fits])
    assert figure is not None
    assert all("7 languages, R² 0.91 (0.42 without yo)" in entry.text for entry in figure.legend)
    assert "91% of the variance between 7 points, 42% without yo." in figure.alternative


def test_only_the_ends_of_many_languages_are_named_on_the_drawing(record: StudyRecord) -> None:
    first = record.token_fits[0]
    codes = [f"l{k:02d}" for k in range(20)]
    many = tuple(
        first.points[0].model_copy(update={"language": code, "tokens": 30.0 + 5 * k})
        for k, code in enumerate(codes)
    )
    figure = tokens_figure([first.model_copy(update={"points": many})])
    assert figure is not None
    assert [code for code in codes if f">{code}<" in figure.wide] == ["l00", "l01", "l18", "l19"]


def test_a_language_whose_label_would_lie_on_another_has_none(record: StudyRecord) -> None:
    """A label has room where it is 24 pixels or 16 pixels from the others, of 880 (or 350) by 260."""
    first = record.token_fits[0]
    places = {
        "aa": (50.0, 0.02),
        "bb": (51.0, 0.02),
        "cc": (51.0, 0.01),
        "dd": (100.0, 0.02),
        "ee": (106.0, 0.02),
    }
    points = tuple(
        first.points[0].model_copy(update={"language": code, "tokens": tokens, "service_s": service_s})
        for code, (tokens, service_s) in places.items()
    )
    figure = tokens_figure([first.model_copy(update={"points": points})])
    assert figure is not None
    assert [code for code in places if f">{code}<" in figure.wide] == ["aa", "cc", "dd", "ee"]
    assert [code for code in places if f">{code}<" in figure.narrow] == ["aa", "cc", "dd"]


def test_a_narrow_forest_puts_first_what_tells_its_rows_apart(record: StudyRecord) -> None:
    usual = record.comparisons[0]
    names = ["p50 latency at 30% load", "p50 latency at 30% load, xnli", "p50 latency at 30% load, panx"]
    found = record.model_copy(
        update={"comparisons": tuple(usual.model_copy(update={"name": name}) for name in names)}
    )
    figure = forest_figure(found)
    assert figure is not None
    assert all(f">{name}<" in figure.wide for name in names)
    assert all(
        f">{name}<" in figure.narrow for name in ("p50 at 30%", "xnli: p50 at 30%", "panx: p50 at 30%")
    )


def test_names_that_would_become_alike_are_not_shortened() -> None:
    rows = [{"name": "p50 latency at 30% load"}, {"name": "p50 at 30%"}]
    shorten(rows)
    assert [row["name"] for row in rows] == ["p50 latency at 30% load", "p50 at 30%"]


def test_languages_without_a_figure_are_counted_and_not_listed(record: StudyRecord) -> None:
    usual = record.comparisons[0]
    silent = [usual.model_copy(update={"name": x, "language": x, "log_ratio": None}) for x in ("qu", "wo")]
    found = record.model_copy(update={"comparisons": (usual, *silent), "capacity_ratio": None})
    ((title, rows, is_open),) = comparison_tables(found)
    assert title == "The same in numbers; 2 tasks or languages without a figure in any valid pair"
    assert [row.name for row in rows] == [usual.name, *(one.name for one in record.aa)]
    assert is_open


def test_what_a_study_did_not_measure_is_not_drawn(record: StudyRecord) -> None:
    nothing: dict[str, Any] = {"comparisons": (), "aa": (), "capacity_ratio": None, "positive_control": None}
    assert forest_figure(record.model_copy(update=nothing)) is None
    assert sweep_figure(()) is None
    assert tokens_figure(()) is None


def test_probes_keep_their_places_beside_an_interval_that_reaches_far_beyond(record: StudyRecord) -> None:
    first = record.capacities[0]
    far = Interval(low=40.0, high=700.0, confidence=0.95)
    figure = sweep_figure([first.model_copy(update={"interval": far, "probes": first.probes[-3:]})])
    assert figure is not None
    places = [float(x) for x in re.findall(r'transform="translate\(([\d.]+),[\d.]+\)" d="M', figure.wide)]
    rates = sorted(probe.rate_per_s for probe in first.probes[-3:])
    # The axis begins at 0, so that places are in proportion to rates.
    assert [place / places[0] for place in places[:3]] == pytest.approx(
        [rate / rates[0] for rate in rates], rel=0.01
    )


def test_the_sweep_says_capacity_with_its_interval(record: StudyRecord) -> None:
    figure = sweep_figure(record.capacities)
    assert figure is not None
    assert (
        "english-intermediate: meets p95<200ms up to 42.5/s (95% interval 40.0 to 44.7/s)"
        in figure.alternative
    )
    none_met = record.capacities[0].model_copy(update={"rate_per_s": None, "interval": None})
    figure = sweep_figure([none_met])
    assert figure is not None
    assert "no rate met p95<200ms" in figure.alternative


def test_the_sweep_shows_what_all_that_is_offered_would_be(record: StudyRecord) -> None:
    figure = sweep_figure(record.capacities)
    assert figure is not None
    assert "all that is offered" in [entry.text for entry in figure.legend]
    assert figure.wide.count('stroke-dasharray="6,4"') == 3  # the objective of either arm, and the diagonal
    without = [
        capacity.model_copy(
            update={"probes": tuple(p.model_copy(update={"goodput_per_s": None}) for p in capacity.probes)}
        )
        for capacity in record.capacities
    ]
    bare = sweep_figure(without)
    assert bare is not None
    assert "all that is offered" not in [entry.text for entry in bare.legend]


def test_the_ratio_map_marks_what_stays_different_after_correction(record: StudyRecord) -> None:
    found = ratio_map(record.comparisons, "multilingual-intermediate")
    assert found is not None
    cells = {
        (task, language): cell
        for language, row in found.rows
        for task, cell in zip(found.tasks, row, strict=True)
        if cell is not None
    }
    assert {place for place, cell in cells.items() if cell.mark} == {("xquad", "zh")}
    for comparison in record.comparisons:
        if comparison.task and comparison.language:
            cell = cells[comparison.task, comparison.language]
            assert cell.text == f"{math.exp(comparison.log_ratio or 0):.3f}"
            assert cell.n == comparison.num_pairs
            assert cell.level is not None
            assert (cell.level > 3) == ((comparison.log_ratio or 0) > 0) or cell.level == 3
    assert ("xquad", "sw") not in cells


def test_records_refuse_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="low end lies above"):
        Interval(low=1.0, high=0.0, confidence=0.95)
    with pytest.raises(ValueError, match="strictly inside"):
        Margin(low=0.01, high=0.05)


def test_names_in_drawings_are_escaped(record: StudyRecord) -> None:
    evil = record.comparisons[0].model_copy(update={"name": '<img src=x onerror="y">&'})
    figure = forest_figure(record.model_copy(update={"comparisons": (evil,)}))
    assert figure is not None
    for drawing in (figure.wide, figure.narrow):
        assert "<img" not in drawing
        assert "&lt;img src=x" in drawing
