"""Figures that are bounds are told as bounds, and reach no target."""

import copy

import pytest
from rich.console import Console

from pocketkube.graph.bounds import compare_macs
from pocketkube.report import build_report
from pocketkube.report.summary import render_table
from tests.report.test_report import RESULT, words

ODD = ["spectrum (Odd)"]


@pytest.mark.parametrize(
    ("before", "after", "shown", "reaches_two"),
    [
        ((400, []), (200, []), "2.00x", True),
        ((400, ODD), (200, ODD), "at most 2.00x", False),
        ((400, ODD), (200, []), "at least 2.00x", True),
        ((400, []), (200, ODD), "at most 2.00x", False),
        ((400, ODD), (200, ["other (Odd)"]), "about 2.00x", False),
        ((200, ODD), (400, ODD), "at least 0.50x", False),
    ],
)
def test_a_ratio_of_bounds_is_a_bound(before, after, shown, reaches_two):
    speedup = compare_macs(*before, *after)
    assert str(speedup) == shown
    assert speedup.reaches(2) == reaches_two


@pytest.mark.parametrize(("reached", "verdict"), [(2.505, "not certain"), (2.2, "not reached")])
def test_a_target_that_is_reached_at_most_is_not_called_reached(reached, verdict):
    result = copy.deepcopy(RESULT)
    for when in ("before", "after"):
        result[when] |= {"macs_bound": "at least", "unknown": ODD}
    result["speedup_bound"] = "at most"
    result["targets"][0] |= {"reached": reached, "bound": "at most", "met": False}
    result["stages"][0]["macs_bound"] = "at least"

    page = words(build_report(result))
    assert f"Target speedup 2.5: at most {reached}, {verdict}" in page
    assert "at most 2.50x fewer multiply-adds" in page
    assert "at least 40.5 M at least 16.2 M at most 2.50x less" in page
    assert "not counted: spectrum (Odd)" in page
    assert "train_model 99.44 % at least 40.5 M" in page

    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render_table(result))
    text = " ".join(console.export_text().split())
    assert verdict in text.lower()
    assert "not counted: spectrum (Odd)" in text
