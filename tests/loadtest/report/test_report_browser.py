"""The page in a real browser: no request, no complaint, and it fits a phone in light and dark."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

WIDTHS = {"desk": 1280, "phone": 390}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where a browser is there

    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on this machine; apt-get install chromium to try the page in a browser")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=["run", "study"])
def path(request: pytest.FixtureRequest, reported_run: Path, reported_study: Path) -> Path:
    return (reported_run if request.param == "run" else reported_study) / "report.html"


@pytest.fixture(params=list(WIDTHS))
def width(request: pytest.FixtureRequest) -> int:
    return WIDTHS[request.param]


@pytest.fixture(params=["light", "dark"])
def opened(
    request: pytest.FixtureRequest, browser: Browser, path: Path, width: int
) -> Iterator[tuple[Page, list[str]]]:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=request.param)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    page.on(
        "request",
        lambda asked: complaints.append(f"request: {asked.url}") if asked.url != path.as_uri() else None,
    )
    page.goto(path.as_uri(), wait_until="networkidle")
    yield page, complaints
    context.close()


def test_the_page_opens_without_requests_or_complaints_and_fits(
    opened: tuple[Page, list[str]], width: int
) -> None:
    page, complaints = opened
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("section").count() >= 9
    shown = ".chart .narrow svg" if width < 640 else ".chart .wide svg"
    hidden = ".chart .wide svg" if width < 640 else ".chart .narrow svg"
    assert page.locator(shown).first.is_visible()
    assert not page.locator(hidden).first.is_visible()


def test_text_stands_out_from_what_is_behind_it(opened: tuple[Page, list[str]]) -> None:
    """WCAG AA: 4.5 to 1 for text, in either colour scheme; cells of the maps included."""
    page, _ = opened
    assert page.evaluate(CONTRAST) == []


def test_no_label_lies_on_another(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    assert page.evaluate(OVERLAPS) == []


def test_nothing_sticks_out_of_its_drawing(opened: tuple[Page, list[str]]) -> None:
    page, _ = opened
    assert page.evaluate(STICKING_OUT) == []


def test_tabs_switch_between_maps_by_keyboard(browser: Browser, reported_run: Path) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((reported_run / "report.html").as_uri())
    panels = page.locator(".tabs .panel")
    assert [panels.nth(i).is_visible() for i in range(panels.count())].count(True) == 1
    assert panels.first.is_visible()
    page.locator(".tabs input").first.focus()
    page.keyboard.press("ArrowRight")
    assert not panels.first.is_visible()
    assert panels.nth(1).is_visible()
    page.close()


def test_on_paper_every_map_is_there_and_the_ink_is_dark(browser: Browser, reported_run: Path) -> None:
    page = browser.new_page(viewport={"width": 800, "height": 1000}, color_scheme="dark")
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
