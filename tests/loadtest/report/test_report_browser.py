"""The page in a real browser: no request, no complaint, and it fits a phone in light and dark."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from loadtest.report.html import write_report
from loadtest.report.study_files import read_record, save_study

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

SCHEMES = ("light", "dark")
WIDTHS = {"desk": 1280, "phone": 390}
# Ends what hangs; a browser on a busy machine takes its time.
TIMEOUT_MS = 90_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one look at one page found."""

    width: int
    complaints: list[str]
    scroll_width: int
    num_sections: int
    drawings: dict[str, bool]
    pale: list[str]
    spilling: list[str]
    overlapping: list[str]
    sticking_out: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where a browser is there

    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on this machine; apt-get install chromium to try the page in a browser")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"], timeout=TIMEOUT_MS
        )
        yield launched
        launched.close()


def new_page(browser: Browser, **options: Any) -> Page:
    """Open a window of its own, which ends with the page."""
    page = browser.new_page(**options)
    page.set_default_timeout(TIMEOUT_MS)
    return page


@pytest.fixture(
    scope="module",
    params=[(page, width, scheme) for page in ("run", "study") for width in WIDTHS for scheme in SCHEMES],
    ids="-".join,
)
def seen(request: pytest.FixtureRequest, browser: Browser, reported_run: Path, reported_study: Path) -> Seen:
    kind, name, scheme = request.param
    path, width = (reported_run if kind == "run" else reported_study) / "report.html", WIDTHS[name]
    page = new_page(browser, viewport={"width": width, "height": 844}, color_scheme=scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "request",
        lambda asked: complaints.append(f"request: {asked.url}") if asked.url != path.as_uri() else None,
    )
    page.goto(path.as_uri(), wait_until="networkidle")
    found = Seen(
        width=width,
        complaints=complaints,
        scroll_width=page.evaluate("document.documentElement.scrollWidth"),
        num_sections=page.locator("section").count(),
        drawings={key: page.locator(f".chart .{key} svg").first.is_visible() for key in ("wide", "narrow")},
        pale=page.evaluate(CONTRAST),
        spilling=page.evaluate(SPILLING),
        overlapping=page.evaluate(OVERLAPS),
        sticking_out=page.evaluate(STICKING_OUT),
    )
    page.close()
    return found


def test_the_page_opens_without_requests_or_complaints(seen: Seen) -> None:
    assert seen.complaints == []
    assert seen.num_sections >= 9


def test_the_page_fits_its_window_and_shows_the_drawings_made_for_it(seen: Seen) -> None:
    assert seen.scroll_width <= seen.width
    assert seen.spilling == []
    is_phone = seen.width < 640
    assert seen.drawings == {"wide": not is_phone, "narrow": is_phone}


def test_text_stands_out_from_what_is_behind_it(seen: Seen) -> None:
    """WCAG AA: 4.5 to 1 for text, in either colour scheme; cells of the maps included."""
    assert seen.pale == []


def test_no_label_lies_on_another_or_sticks_out_of_its_drawing(seen: Seen) -> None:
    assert seen.overlapping == []
    assert seen.sticking_out == []


def test_tabs_switch_between_maps_by_keyboard(browser: Browser, reported_run: Path) -> None:
    page = new_page(browser, viewport={"width": 1280, "height": 900})
    page.goto((reported_run / "report.html").as_uri())
    panels = page.locator(".tabs .panel")
    assert [panels.nth(i).is_visible() for i in range(panels.count())].count(True) == 1
    assert panels.first.is_visible()
    page.locator(".tabs input").first.focus()
    page.keyboard.press("ArrowRight")
    assert not panels.first.is_visible()
    assert panels.nth(1).is_visible()
    page.close()


@pytest.mark.parametrize("width", WIDTHS.values())
def test_the_names_of_tasks_stay_in_sight_over_fifty_languages(
    browser: Browser, reported_run: Path, width: int
) -> None:
    page = new_page(browser, viewport={"width": width, "height": 844})
    page.goto((reported_run / "report.html").as_uri())
    table = page.locator("table.map:visible").first
    table.locator("tbody tr").last.scroll_into_view_if_needed()
    head = table.locator("thead th").last.bounding_box()
    first = table.locator("tbody tr").first.bounding_box()
    assert head is not None
    assert first is not None
    assert first["y"] < 0 <= head["y"] < 844 - head["height"]
    page.close()


def test_the_numbers_can_be_saved_from_the_page(browser: Browser, reported_run: Path) -> None:
    page = new_page(browser)
    page.goto((reported_run / "report.html").as_uri())
    with page.expect_download() as saved:
        page.locator("a[download]").first.click()
    text = saved.value.path().read_text(encoding="utf-8")
    assert saved.value.suggested_filename == "groups.csv"
    assert text.startswith("arm,task,language,n,")
    page.close()


@pytest.mark.parametrize("width", WIDTHS.values())
def test_pairs_probes_and_methods_can_be_read_at_every_width(
    browser: Browser, reported_study: Path, width: int
) -> None:
    page = new_page(browser, viewport={"width": width, "height": 844})
    page.goto((reported_study / "report.html").as_uri())
    is_phone = width < 640
    pairs = page.locator("#comparison tbody tr").first
    assert ("12 pairs" in pairs.inner_text()) is is_phone
    assert pairs.locator("td.wide-only").last.is_visible() is not is_phone
    method = page.locator("#capacity tbody tr").first
    assert method.inner_text().count("isotonic fit, bootstrap over runs; 15 probes") == 1
    page.close()


def test_on_paper_no_run_is_cut_off_for_what_is_said_of_it(
    browser: Browser, reported_study: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    shutil.copytree(reported_study, folder)
    record = read_record(folder / "study.json")
    said = "Lateness: 41.6 ms (<= 5 ms allowed) is how late requests were sent. " * 4
    *others, last = record.runs
    unfit = last.model_copy(update={"valid": False, "reasons": (said.strip(),)})
    save_study(folder, record.model_copy(update={"runs": (*others, unfit)}))
    page = new_page(browser, viewport={"width": 700, "height": 1000})
    page.goto(write_report(folder).as_uri())
    page.emulate_media(media="print")
    cell = page.locator("#provenance details td").last
    assert cell.inner_text().count("is how late requests were sent") == 4
    box = cell.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 700
    page.close()


def test_on_paper_every_map_is_there_and_the_ink_is_dark(browser: Browser, reported_run: Path) -> None:
    page = new_page(browser, viewport={"width": 800, "height": 1000}, color_scheme="dark")
    page.goto((reported_run / "report.html").as_uri())
    page.emulate_media(media="print")
    panels = page.locator(".tabs .panel")
    assert all(panels.nth(i).is_visible() for i in range(panels.count()))
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert len(page.pdf()) > 10_000
    page.close()


CONTRAST = """
() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => {
    const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b);
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const ink = parse(node instanceof SVGElement ? style.fill : style.color).slice(0, 3);
    const alpha = Number(style.opacity);
    const back = behind(node);
    const seen = ink.map((v, k) => v * alpha + back[k] * (1 - alpha));
    const [high, low] = [luminance(seen), luminance(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    const name = `${node.tagName}.${node.className} ${node.textContent.trim().slice(0, 30)}`;
    if (ratio < 4.5) poor.push(`${name} ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)].slice(0, 12);
}
"""

SPILLING = """
() => [...document.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth + 1)
  .map((box) => `${box.closest("section").id}: ${box.scrollWidth} in ${box.clientWidth}`)
"""

OVERLAPS = """
() => {
  const found = [];
  for (const svg of document.querySelectorAll(".chart svg")) {
    if (!svg.getClientRects().length) continue;
    const boxes = [...svg.querySelectorAll("text")].filter((t) => t.textContent.trim())
      .map((t) => [t.textContent, t.getBoundingClientRect()]);
    boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
      const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
      const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
      if (wide > 1 && high > 3) found.push(`${a} / ${b}`);
    }));
  }
  return found.slice(0, 12);
}
"""

STICKING_OUT = """
() => {
  const found = [];
  for (const svg of document.querySelectorAll(".chart svg")) {
    if (!svg.getClientRects().length) continue;
    const box = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const at = text.getBoundingClientRect();
      if (at.left < box.left - 1 || at.right > box.right + 1) found.push(text.textContent);
    }
  }
  return found.slice(0, 12);
}
"""
