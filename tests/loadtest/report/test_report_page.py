"""The page as a document: complete, self-contained, escaped, and in agreement with summary.json."""

from __future__ import annotations

import csv
import io
import math
import re
import shutil
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from loadtest.datasets.tasks import Task
from loadtest.report import formats
from loadtest.report.chart_style import Paint
from loadtest.report.heat_map import heat_maps, task_title
from loadtest.report.html import signs, write_report
from loadtest.report.study_files import read_record
from loadtest.report.study_record import Verdict, VerdictWord
from loadtest.report.summary import read_summary, write_summary
from loadtest.report.verdict import Strip, Tone, strip_of
from loadtest.trace.samples import read_samples, write_samples
from loadtest.trace.schedule import digest_of, read_schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loadtest.report.records import Group

SECTIONS = {
    "verdict", "validity", "tasks", "latency", "split", "course", "maps", "capacity", "comparison", "errors",
    "provenance", "reading",
}  # fmt: skip
VOID = {"meta", "link", "br", "input", "hr", "img"}
FEW: dict[str, Any] = {"num": 120, "tasks": (Task.XNLI, Task.XQUAD), "items_per_cell": 1}


class Reader(HTMLParser):
    """Collects elements with their attributes and the text inside each element with an id."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.text: dict[str, list[str]] = {}
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements.append((tag, values))
        if tag not in VOID:
            self.open.append((tag, values.get("id")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1][0] != tag:
            self.unbalanced.append(tag)
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for _, name in self.open:
            if name is not None:
                self.text.setdefault(name, []).append(data)

    def said(self, name: str) -> str:
        return " ".join(" ".join(self.text.get(name, [])).split())


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


@pytest.fixture(scope="module")
def page(reported_run: Path) -> Reader:
    return read(reported_run / "report.html")


@pytest.fixture(scope="module")
def study_page(reported_study: Path) -> Reader:
    return read(reported_study / "report.html")


@pytest.fixture(params=["page", "study_page"])
def any_page(request: pytest.FixtureRequest) -> Reader:
    found: Reader = request.getfixturevalue(request.param)
    return found


def test_every_section_is_there_once(any_page: Reader) -> None:
    ids = Counter(values["id"] for _, values in any_page.elements if values.get("id"))
    assert {name for name in SECTIONS if ids[name] == 1} == SECTIONS
    assert [name for name, count in ids.items() if count > 1] == []


def test_the_document_is_balanced(any_page: Reader) -> None:
    assert any_page.unbalanced == []
    assert any_page.open == []


def test_nothing_is_asked_of_anybody(any_page: Reader, reported_run: Path, reported_study: Path) -> None:
    tags = {tag for tag, _ in any_page.elements}
    assert not tags & {
        "script",
        "iframe",
        "object",
        "embed",
        "img",
        "image",
        "video",
        "audio",
        "form",
        "base",
    }
    for _, values in any_page.elements:
        for name, value in values.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}:
                assert value is not None
                kept_inside = "download" in values and value.startswith("data:text/csv;")
                assert value.startswith("#") or value == "data:," or kept_inside
            if "url(" in (value or ""):
                assert re.fullmatch(r"url\(#[\w-]+\)", value or "")
    for folder in (reported_run, reported_study):
        style = "".join(re.findall(r"<style>(.*?)</style>", (folder / "report.html").read_text(), re.DOTALL))
        assert "@import" not in style
        assert "url(" not in style


def test_a_policy_forbids_what_the_page_does_not_need(page: Reader) -> None:
    policy = next(v["content"] for t, v in page.elements if v.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_every_reference_inside_the_page_leads_somewhere(any_page: Reader) -> None:
    ids = {values["id"] for _, values in any_page.elements if values.get("id")}
    wanted = {
        v["href"][1:] for _, v in any_page.elements if (v.get("href") or "").startswith("#") and v["href"]
    }
    wanted |= {
        name
        for _, values in any_page.elements
        for value in values.values()
        for name in re.findall(r"url\(#([\w-]+)\)", value or "")
    }
    wanted |= {values["for"] or "" for tag, values in any_page.elements if tag == "label"}
    assert wanted
    assert wanted <= ids


def test_every_chart_has_a_title_axes_with_units_and_a_text_alternative(study_page: Reader) -> None:
    figures = {v["id"] for t, v in study_page.elements if t == "figure"}
    assert figures == {f"figure-{key}" for key in ("latency", "split", "time", "forest", "sweep", "tokens")}
    charts = [v for t, v in study_page.elements if v.get("role") == "img"]
    assert len(charts) == len(figures)
    assert all(len(v["aria-label"] or "") > 40 for v in charts)
    said = {name: study_page.said(name) for name in figures if name}
    for name, unit in (
        ("latency", "milliseconds (log scale)"),
        ("split", "share of mean latency"),
        ("time", "seconds since the start"),
        ("forest", "ratio to the reference (log scale)"),
        ("sweep", "offered rate, requests a second"),
        ("tokens", "mean tokens a request"),
    ):
        assert said[f"figure-{name}"].count(unit) == 2, name  # once for each width


def test_no_placeholder_colour_is_left(reported_study: Path) -> None:
    text = (reported_study / "report.html").read_text()
    assert not [paint for paint in Paint if paint.placeholder in text]
    declared = set(re.findall(r"--([\w-]+):", text))
    assert set(re.findall(r"var\(--([\w-]+)\)", text)) <= declared


def test_light_and_dark_declare_the_same_colours(reported_run: Path) -> None:
    css = (reported_run / "report.html").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark, paper = (set(re.findall(r"--([\w-]+):", block)) for block in blocks)
    assert light == dark == paper


def test_the_numbers_shown_are_those_of_the_summary(page: Reader, reported_run: Path) -> None:
    summary = read_summary(reported_run)
    everything = summary.overall
    tiles = " ".join(
        " ".join(chunks) for name, chunks in page.text.items() if name in {"verdict", "tasks", "errors"}
    )
    said = " ".join(tiles.split())
    for name in ("p50", "p95"):
        figure = " ".join(formats.percentile(everything.latency_s, name).split())
        assert f"{name} {figure}" in said
    for task, group in summary.by_task.items():
        assert group.quality is not None
        row = [
            task_title(task),
            formats.count(group.n),
            formats.percentile_ms(group.latency_s, "mean"),
            formats.percentile_ms(group.latency_s, "p50"),
            formats.percentile_ms(group.latency_s, "p95"),
            formats.number(group.throughput_per_s),
            formats.number(group.tokens.mean),
            formats.count(group.errors.num),
            formats.score(group.quality.score),
        ]
        assert " ".join(row) in page.said("tasks"), task
    assert f"429 queue full {everything.errors.num}" in page.said("errors")
    assert f"unfinished {everything.num_censored}" in page.said("errors")


def test_every_cell_of_the_maps_is_that_of_the_summary(page: Reader, reported_run: Path) -> None:
    summary = read_summary(reported_run)
    titles = [values["title"] or "" for tag, values in page.elements if tag == "td" and values.get("title")]
    for task, cells in summary.by_task_language.items():
        for language, group in cells.items():
            place = f"{task_title(task)}, {language}: "
            bound = "≥" if "mean" in group.latency_s.lower_bounds else ""
            mean = f"{place}{bound}{formats.milliseconds(group.latency_s.mean)}, n {group.latency_s.n:,}"
            tokens = f"{place}{formats.number(group.tokens.mean)}, n {group.num_answered:,}"
            assert mean in titles
            assert tokens in titles
            assert group.quality is not None
            assert f"{place}{formats.score(group.quality.score)}, n {group.quality.num_scored:,}" in titles


def test_a_map_of_long_durations_is_in_seconds_which_fit_a_phone(reported_run: Path) -> None:
    cells = read_summary(reported_run).by_task_language
    (mean,) = (one for one in heat_maps(cells) if one.key == "mean")
    assert mean.caption.startswith("milliseconds; a mean")

    def slow(group: Group) -> Group:
        latency = group.latency_s.model_copy(update={"mean": 12.345, "lower_bounds": ()})
        return group.model_copy(update={"latency_s": latency})

    slowed = {task: {code: slow(group) for code, group in by_code.items()} for task, by_code in cells.items()}
    (mean,) = (one for one in heat_maps(slowed) if one.key == "mean")
    assert mean.caption.startswith("seconds; a mean")
    assert {cell.text for _, row in mean.rows for cell in row if cell} == {"12.3"}
    assert (mean.low, mean.high) == ("12.3", "12.3")


@pytest.mark.parametrize(
    ("info", "verdict"),
    [
        ({}, "valid The run measured the server. No objective was declared."),
        ({"objectives": ["p50<10s"]}, "met p50<10s met"),
        ({"objectives": ["p50<10s", "p50<20s"]}, "met 2 of 2 objectives met."),
        ({"objectives": ["p50<1ms"]}, "missed 1 of 1 objective missed: p50<1ms missed"),
        ({"objectives": ["p99<10s"]}, "unclear 1 of 1 objective could not be told: p99<10s"),
        ({"objectives": ["p50<10s"], "gauges": {"steal_ratio": 0.4}}, "invalid Steal: 40 %"),
    ],
)
def test_the_verdict_follows_validity_first_and_objectives_second(
    make_run: Callable[..., Path], tmp_path: Path, info: dict[str, Any], verdict: str
) -> None:
    summary = write_summary(make_run(tmp_path, **FEW, info=info))
    strip = strip_of(summary)
    assert f"{strip.word} {strip.sentence}".startswith(verdict)


def test_a_search_for_one_arms_capacity_is_no_inconclusive_comparison(reported_study: Path) -> None:
    record, summary = read_record(reported_study / "study.json"), read_summary(reported_study)
    verdict = Verdict(word=VerdictWord.INCONCLUSIVE, sentence="a answers 9.", paragraph="a answers 9.")
    compared = record.model_copy(update={"verdict": verdict})
    assert strip_of(summary, compared).word == "inconclusive"
    alone = compared.model_copy(update={"arms": compared.arms[:1], "comparisons": ()})
    assert strip_of(summary, alone) == Strip(tone=Tone.NEUTRAL, word="capacity", sentence="a answers 9.")
    stopped = alone.model_copy(update={"valid": False, "reasons": ("It ended.",)})
    assert strip_of(summary, stopped).word == "invalid"


def test_an_invalid_run_says_so_on_its_page(make_run: Callable[..., Path], tmp_path: Path) -> None:
    found = read(write_report(make_run(tmp_path, **FEW, info={"gauges": {"steal_ratio": 0.4}})))
    assert found.said("verdict").startswith("invalid Steal")
    assert "nothing should be concluded" in found.said("validity")
    assert "fail 40 %" in found.said("validity")


def test_the_command_the_trace_and_the_environment_are_shown(page: Reader, reported_run: Path) -> None:
    said = page.said("provenance")
    summary = read_summary(reported_run)
    assert summary.command is not None
    assert summary.command in said
    assert str(summary.trace["items_sha256"]) in said
    _, arrivals = read_schedule(reported_run.parent / "trace" / "schedule.jsonl")
    assert summary.trace["arrivals_sha256"] == digest_of(arrivals)
    assert digest_of(arrivals) in said
    assert "a made-up processor" in said
    assert f"xlmr-load report {reported_run.name}" in said
    assert "synthetic weights" in said


def _tables(page: Reader) -> dict[str, list[dict[str, str]]]:
    """Return the tables that the page holds as files, by name."""
    links = [values for tag, values in page.elements if tag == "a" and "download" in values]
    return {
        str(values["download"]): list(
            csv.DictReader(io.StringIO(b64decode(str(values["href"]).partition("base64,")[2]).decode()))
        )
        for values in links
    }


def test_the_page_holds_its_numbers_as_tables(page: Reader, reported_run: Path) -> None:
    (rows,) = _tables(page).values()
    ((arm, figures),) = read_summary(reported_run).by_arm.items()
    groups: dict[tuple[str, str], Group] = {("", ""): figures.overall}
    groups |= {(task, ""): group for task, group in figures.by_task.items()}
    groups |= {("", language): group for language, group in figures.by_language.items()}
    groups |= {
        (task, language): group
        for task, cells in figures.by_task_language.items()
        for language, group in cells.items()
    }
    assert len(rows) == len(groups)
    for row in rows:
        group = groups[row["task"], row["language"]]
        p95, score = group.latency_s.p95, group.quality.score if group.quality else None
        assert (row["arm"], int(row["n"])) == (arm, group.n)
        assert row["latency_p95_s"] == ("" if p95 is None else repr(p95))
        assert row["score"] == ("" if score is None else repr(score))


def test_a_studys_page_holds_its_comparisons_as_ratios(study_page: Reader, reported_study: Path) -> None:
    rows = {row["comparison"]: row for row in _tables(study_page)["comparisons.csv"]}
    record = read_record(reported_study / "study.json")
    first = record.comparisons[0]
    assert first.log_ratio is not None
    assert first.interval is not None
    found = [float(rows[first.name][key]) for key in ("ratio", "low", "high")]
    assert found == pytest.approx(
        [math.exp(one) for one in (first.log_ratio, first.interval.low, first.interval.high)]
    )
    assert rows[first.name]["verdict"] == first.word.value
    assert {one.name for one in (*record.comparisons, *record.aa)} <= rows.keys()


def test_a_mark_beside_a_verdict_has_a_legend_and_no_mark_none(
    reported_study: Path, study_page: Reader, tmp_path: Path
) -> None:
    legend = "* The ratio differs from 1 even after the correction named beside it"
    record = read_record(reported_study / "study.json")
    for marked in (False, True):
        folder = tmp_path / str(marked)
        shutil.copytree(reported_study, folder)
        first, *others = (one.model_copy(update={"marked": False}) for one in record.comparisons)
        compared = (first.model_copy(update={"marked": marked}), *others)
        changed = record.model_copy(update={"comparisons": compared})
        (folder / "study.json").write_text(changed.model_dump_json(), encoding="utf-8")
        assert (legend in read(write_report(folder)).said("comparison")) is marked


def test_checks_of_a_study_tell_the_worst_run(study_page: Reader, reported_study: Path) -> None:
    late = [check for check in read_summary(reported_study).checks if check.name == "lateness"]
    worst = max(late, key=lambda check: check.value or 0.0)
    assert len(late) > 1
    assert f"{formats.plural(len(late), 'run')}, worst {worst.measured}" in study_page.said("validity")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("worst 7.17e-05 %", "worst < 0.0001\N{NARROW NO-BREAK SPACE}%"),
        ("4.2 ms, <= 5 ms", "4.2\N{NARROW NO-BREAK SPACE}ms, ≤ 5\N{NARROW NO-BREAK SPACE}ms"),
        ("p >= 0.0001 or 3 scripts", "p ≥ 0.0001 or 3 scripts"),
    ],
)
def test_measured_values_are_written_as_people_do(written: str, shown: str) -> None:
    assert signs(written) == shown


def test_the_scores_of_a_study_tell_what_their_verdicts_took(study_page: Reader) -> None:
    assert "Intervals are of each task alone." in study_page.said("comparison")


def test_what_a_study_declared_is_shown(page: Reader, reported_study: Path) -> None:
    said = read(reported_study / "report.html").said("provenance")
    assert "Design, as it was declared pairs 12 seed 3" in said
    assert "as it was declared" not in page.said("provenance")  # a run declares nothing


def test_what_scores_leave_out_is_said(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW | {"error_ratio": 0.0, "censored_ratio": 0.0, "num": 40})
    gold = tmp_path / "trace" / "gold.jsonl"
    lines = gold.read_text().splitlines(keepends=True)
    gone = [line for line in lines if '"xnli/sw/0"' in line or '"xnli/en/0"' in line]
    assert len(gone) == 2
    gold.write_text("".join(line for line in lines if line not in gone))
    said = read(write_report(run_dir)).said("tasks")
    assert "2 answered items without gold: replayed and not scored." in said
    assert "Fewer languages than the benchmark's in XNLI: not comparable" in said


def test_text_of_runs_and_traces_is_escaped(make_run: Callable[..., Path], tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&<b>"
    run_dir = make_run(tmp_path, **FEW, arm=evil, info={"command": evil, "deviations": [evil]})
    frame = read_samples(run_dir)
    failing = pl.when(pl.col("error").is_not_null() & ~pl.col("censored")).then(pl.lit(evil))
    write_samples(
        run_dir, frame.with_columns(error=failing.otherwise(pl.col("error")), language=pl.lit(evil))
    )
    found = read(write_report(run_dir))
    assert not {tag for tag, _ in found.elements} & {"script", "b"}
    assert found.unbalanced == []
    assert evil in found.said("provenance")


@pytest.mark.parametrize(
    "plan",
    [
        {"error_ratio": 1.0},
        {"censored_ratio": 1.0, "error_ratio": 0.0},
        {"num": 1},
        {"has_split": False},
        {"tasks": (Task.TATOEBA,)},
    ],
    ids=["all failed", "none finished", "one request", "no split", "one task"],
)
def test_a_poor_run_still_has_a_whole_page(
    make_run: Callable[..., Path], tmp_path: Path, plan: dict[str, Any]
) -> None:
    found = read(write_report(make_run(tmp_path, **FEW | plan)))
    ids = {values.get("id") for _, values in found.elements}
    assert ids >= SECTIONS
    assert found.unbalanced == []


def test_an_empty_run_still_has_a_page(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run_dir = make_run(tmp_path, **FEW)
    write_samples(run_dir, read_samples(run_dir).head(0))
    found = read(write_report(run_dir))
    assert "0 samples for 120 scheduled arrivals" in found.said("validity")


@pytest.mark.slow
def test_a_hundred_thousand_requests_make_a_page_below_three_megabytes(
    make_run: Callable[..., Path], tmp_path: Path
) -> None:
    run_dir = make_run(tmp_path, num=1000, tasks=(Task.XNLI, Task.UDPOS), items_per_cell=1)
    one = read_samples(run_dir)
    span_us = int(one["done_us"].max())  # type: ignore[arg-type]  # a column of integers that has rows
    shift = pl.col("k") * span_us
    many = one.join(pl.DataFrame({"k": range(100)}), how="cross").with_columns(
        pl.col(f"{name}_us") + shift for name in ("intended", "sent", "done")
    )
    many = many.with_columns(i=pl.int_range(pl.len(), dtype=pl.Int64)).drop("k")
    write_samples(run_dir, many)
    page = write_report(run_dir)
    assert read_summary(run_dir).overall.n == 100_000
    assert page.stat().st_size < 3_000_000
