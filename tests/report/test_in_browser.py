"""What a browser makes of the report: by where each text and bar lies, on a phone and on a desk."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocketkube.files.records import document_of
from pocketkube.report import build_report
from pocketkube.report.result import Result
from tests.report.cases import CASES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None,
        reason="chromium and chromium-driver are missing: install Debian's packages",
    ),
]

# Each visible text with the boxes of its lines, and the box of the element that is to hold it.
TEXTS = """
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const parent = node.parentElement;
  if (!node.data.trim() || !parent.checkVisibility()) continue;
  if (getComputedStyle(parent.closest('thead') ?? parent).clipPath !== 'none') continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  const lines = [...range.getClientRects()].map(b => [b.left, b.top, b.right, b.bottom]);
  const holder = parent.closest('td, th, li, p, h1, h2, h3, pre, figure, summary');
  const box = holder.getBoundingClientRect();
  found.push({text: node.data.trim(), lines, holder: [box.left, box.top, box.right, box.bottom]});
}
return found;
"""
BOXES = """
return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => {
  const b = e.getBoundingClientRect();
  return [b.left, b.top, b.right, b.bottom];
});
"""
CLIPPED = """
return [...document.querySelectorAll('main *')].filter(e => e.checkVisibility() &&
  !e.closest('thead, svg') && getComputedStyle(e).display !== 'inline' &&
  e.scrollWidth > e.clientWidth + 1 && !e.classList.contains('plot') && !e.closest('.plot'))
  .map(e => e.outerHTML.slice(0, 200));
"""
# Letters of neighbouring lines may touch, where lines are as high as letters.
TOUCH = 3.0


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    yield driver
    driver.quit()


def open_report(browser: Any, folder: Path, result: dict, width: int, scheme: str = "light") -> None:
    page = folder / "report.html"
    page.write_text(build_report(document_of(Result, result, "result.json")), "utf-8")
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())


def overlap(one: list[float], other: list[float]) -> bool:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return across > 1 and down > TOUCH


def faults(browser: Any, width: int) -> list[str]:
    """Texts that are cut off, leave what holds them, or lie on each other or on a bar."""
    texts = browser.execute_script(TEXTS)
    bars = browser.execute_script(BOXES, ".bar i")
    lines = [(number, line) for number, text in enumerate(texts) for line in text["lines"]]
    found = []
    for number, line in lines:
        left, top, right, bottom = texts[number]["holder"]
        inside = left - 1 <= line[0] and line[2] <= right + 1 and top - TOUCH <= line[1]
        if not (inside and line[3] <= bottom + TOUCH and line[0] >= 0 and line[2] <= width):
            found.append(f"{texts[number]['text']} is outside")
        found += [f"{texts[number]['text']} lies on a bar" for bar in bars if overlap(line, bar)]
    lines.sort(key=lambda item: item[1][1])
    for place, (number, line) in enumerate(lines):
        for other, below in lines[place + 1 :]:
            if below[1] > line[3]:
                break
            if other != number and overlap(line, below):
                found.append(f"{texts[number]['text']} and {texts[other]['text']} overlap")
    return found


# The narrowest of each of the three arrangements that the style sheet knows: others have more room.
@pytest.mark.parametrize("width", [360, 641, 961])
@pytest.mark.parametrize("name", CASES)
def test_every_text_has_its_place(browser: Any, tmp_path: Path, name: str, width: int) -> None:
    result = CASES[name]
    open_report(browser, tmp_path, result, width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert faults(browser, width) == []
    assert browser.execute_script(CLIPPED) == []
    shown = [text["text"] for text in browser.execute_script(TEXTS)]
    for layer in result["layers"]:
        assert layer["name"] in shown
    if "Training" in shown:
        assert {"train_model: loss"} <= set(shown)
    # Everything is as wide as the page, but for its margins.
    sections = browser.execute_script(BOXES, "main > section")
    assert all(right - left >= width - 40 for left, _, right, _ in sections)


@pytest.mark.parametrize("name", ["plain", "many epochs", "busy"])
def test_plots_show_their_marks(browser: Any, tmp_path: Path, name: str) -> None:
    open_report(browser, tmp_path, CASES[name], 390)
    plots = browser.execute_script(BOXES, ".plot svg")
    # Two histograms and two curves.
    assert len(plots) == 4
    assert all(right - left > 250 and bottom - top > 60 for left, top, right, bottom in plots)
    for kind in ("path.line.before", "path.line.after", "path.bars.before", "path.bars.after"):
        marks = browser.execute_script(BOXES, kind)
        assert marks
        for left, top, right, bottom in marks:
            assert right - left > 2
            assert bottom - top > 20
            inside = [
                plot
                for plot in plots
                if plot[0] - 1 <= left and right <= plot[2] + 1 and plot[1] - 1 <= top
            ]
            assert any(bottom <= plot[3] + 1 for plot in inside)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_dark_where_the_reader_wants_it_dark(browser: Any, tmp_path: Path, scheme: str) -> None:
    open_report(browser, tmp_path, CASES["busy"], 390, scheme)
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(20, 24, 29)") is (scheme == "dark")


def test_on_paper_it_is_light(browser: Any, tmp_path: Path) -> None:
    open_report(browser, tmp_path, CASES["plain"], 800, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert paper == "rgb(255, 255, 255)"


@pytest.mark.parametrize(
    ("style", "fault"),
    [
        ("th { position: relative; left: -60px }", "is outside"),
        (".measure { display: block } .bar { display: block; margin-bottom: -1em }", "lies on a bar"),
        (
            "figcaption { display: block; height: 1.4em } .keys { position: absolute; left: 20px }",
            "overlap",
        ),
        ("td { white-space: nowrap } table { width: 500px }", "is outside"),
    ],
)
def test_faults_that_were_there_would_be_seen(
    browser: Any, tmp_path: Path, style: str, fault: str
) -> None:
    open_report(browser, tmp_path, CASES["deep"], 390)
    added = "document.createElement('style'), {textContent: arguments[0]}"
    browser.execute_script(f"document.head.append(Object.assign({added}))", style)
    assert any(found.endswith(fault) for found in faults(browser, 390))
