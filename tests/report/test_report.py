import copy
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from pocketkube.report import build_report
from pocketkube.report.confusion import confusion_matrix
from pocketkube.report.summary import render_table
from tests.report.cases import HISTORY, RESULT


def words(page: str) -> str:
    """The page's text as a reader sees it."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            found.append(data)

    Reader().feed(page)
    return " ".join(" ".join(found).split())


@pytest.mark.parametrize(
    "said",
    [
        "2.50x fewer multiply-adds",
        "-0.40 points of accuracy",
        "5.86x faster",
        "14.1x smaller file",
        "99.44 % 99.04 %",
        "8 of 16",
        "a_layer (Odd) is not known: left whole",
        "train_model 99.44 % 40.5 M 274 k – – – 60.0 s",
        "quantize_weights 99.00 % 40.5 M 274 k 50.3 % 4 to 8 71 kB 9.0 s",
        "pocketkube run digits.yaml --output runs/digits",
        "Target speedup 2.5: 2.505, reached",
        "keras 3.15.1",
    ],
)
def test_what_people_look_for_is_there(said: str) -> None:
    assert said in words(build_report(RESULT))


def test_nothing_is_fetched_from_elsewhere() -> None:
    page = build_report(RESULT)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "http" not in page
    assert "<script" not in page


def test_names_are_shown_as_text() -> None:
    result = copy.deepcopy(RESULT)
    result["spec"]["model"] = "<script>alert(1)</script>"
    result["layers"][0]["name"] = "<b>&bold"
    page = build_report(result)
    assert "<script" not in page
    assert "<b>" not in page
    assert "<b>&bold" in words(page)


def test_a_regression_without_confusion_or_samples() -> None:
    result = copy.deepcopy(RESULT)
    result["task"] = {"kind": "regression", "score_name": "negative_mae", "description": "mse"}
    for when in ("before", "after"):
        result[when] |= {
            "score": -0.25,
            "confusion": None,
            "latency_samples_ms": [],
            "op_latency_ms": {},
        }
    page = build_report(result)
    assert "Mean absolute error 0.25 0.25" in words(page)
    assert "0.25 mean absolute error, from 0.25" in words(page)
    assert "What is taken for what" not in page


def test_landmarks_are_told_by_their_error() -> None:
    result = copy.deepcopy(RESULT)
    told = {"kind": "landmarks", "score_name": "negative_nme", "description": "smooth L1"}
    result["task"] = told | {"normalize_by": [0, 1]}
    result["before"] |= {"score": -0.0301, "confusion": None}
    result["after"] |= {"score": -0.0342, "confusion": None}
    history = {"score": [-0.9, -0.04], "val_score": [-0.8, -0.035]}
    result["stages"][0] |= {"score": -0.0301, "history": HISTORY | history}
    page = words(build_report(result))
    for said in (
        "+0.41 points of NME, to 3.42 %",
        "Normalised mean error 3.01 % 3.42 % +0.41 points",
        "train_model: normalised mean error",
        "train_model 3.01 %",
        "gives back 99.80 % of the variance of its Keras model's outputs",
    ):
        assert said in page
    assert "-0.0" not in page
    assert "accuracy" not in page


def test_a_figure_that_is_missing_is_a_dash() -> None:
    result = copy.deepcopy(RESULT) | {"agreement": None, "latency_ratio": None}
    for when in ("before", "after"):
        result[when]["latency_ms"] = None
    page = build_report(result)
    assert "<td>–</td>" in page
    assert "name the same class" not in page


def test_many_classes_are_told_in_words() -> None:
    matrix = [[9 * (row == column) for column in range(50)] for row in range(50)]
    assert "No example is taken for another class" in confusion_matrix(matrix)
    matrix[7][3] = 2
    assert "class 7 taken for 3: 2 of 11" in confusion_matrix(matrix)


def test_training_that_diverged_is_still_reported() -> None:
    result = copy.deepcopy(RESULT)
    result["stages"][0]["history"] |= {"loss": [2.0, math.nan], "val_loss": [math.inf, math.nan]}
    page = build_report(result)
    assert "train_model: loss" in page
    assert not re.search(r'points="[^"]*(nan|inf)', page)


def test_the_table_fits_and_says_it_all() -> None:
    console = Console(width=80, record=True, file=None)
    with console.capture() as capture:
        console.print(render_table(RESULT))
    shown = capture.get()
    for said in ("99.44 %", "-0.40 points", "2.50x less", "14.13x less", "Peak memory", "reached"):
        assert said in shown


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("chromium") is None or shutil.which("chromedriver") is None,
    reason="chromium and chromium-driver are missing: install Debian's packages",
)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_a_browser_shows_every_figure(tmp_path: Path, width: int, scheme: str) -> None:
    from selenium import webdriver

    page = tmp_path / "report.html"
    page.write_text(build_report(RESULT), "utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options, service)
    try:
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        driver.get(page.as_uri())
        assert driver.get_log("browser") == []
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        sizes = driver.execute_script(
            "return [...document.querySelectorAll('svg')].map(s => {"
            "const b = s.getBoundingClientRect(); return [b.width, b.height, s.children.length]})"
        )
        # Channels, multiply-adds, operations, latency, two curves, confusion.
        assert len(sizes) == 7
        assert all(w > 100 and h > 30 and parts > 3 for w, h, parts in sizes)
        dark = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(20, 24, 29)") is (scheme == "dark")
    finally:
        driver.quit()
