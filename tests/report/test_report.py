import copy
import io
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from rich.console import Console

from pocketkube.errors import UserError
from pocketkube.figures import TIME, ratio, ratio_between, ratio_words
from pocketkube.files.records import document_of
from pocketkube.report import build_report as page_of
from pocketkube.report.confusion import confusion_matrix
from pocketkube.report.lines_svg import Line, lines_svg
from pocketkube.report.markdown import markdown_of
from pocketkube.report.plot import Axis, ticks
from pocketkube.report.result import Result
from pocketkube.report.summary import render_table
from tests.report.cases import CASES, HISTORY, RESULT, head


def build_report(content: dict[str, Any]) -> str:
    return page_of(document_of(Result, content, "result.json"))


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
        "5.86x faster on x86_64, 1 thread; 95 % interval 5.79x to 5.92x faster",
        "Latency was measured on A processor, 2 cores, x86_64.",
        "14.13x smaller file",
        "Latency p50 0.820 ms 0.140 ms 5.86x faster 95 % interval 5.79x to 5.92x faster",
        "p50, 2 threads 0.500 ms 0.520 ms 1.04x slower",
        "95 % interval 0.400 to 0.600 ms 0.450 to 0.600 ms 1.11x slower to 1.03x faster",
        "99.44 % 99.04 %",
        "8 of 16",
        "a_layer (Odd) is not known: left whole",
        "train_model 99.44 % 40.5 M 274 k – – – 60.0 s",
        "quantize_weights 99.00 % 40.5 M 274 k 50.3 % 4 to 8 71 kB 9.0 s",
        "pocketkube run digits.yaml --output runs/digits",
        "Target speedup: 2.5x asked for, reached with 2.505x.",
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
    values = {"name": "output", "kind": "regression"}
    result["task"] = {"score_name": "negative_mae", "description": "mse", "heads": [values]}
    for when in ("before", "after"):
        result[when] |= {
            "score": -0.25,
            "heads": [head("negative_mae", -0.25)],
            "latency_samples_ms": [],
            "op_latency_ms": {},
        }
    page = build_report(result)
    assert "Mean absolute error 0.25 0.25" in words(page)
    assert "0.25 mean absolute error, from 0.25" in words(page)
    assert "What is taken for what" not in page


def test_landmarks_are_told_by_their_error() -> None:
    result = copy.deepcopy(RESULT)
    points = {"name": "output", "kind": "landmarks", "normalize_by": [0, 1]}
    told = {"score_name": "negative_nme", "description": "smooth L1", "heads": [points]}
    result["task"] = told
    result["before"] |= {"score": -0.0301, "heads": [head("negative_nme", -0.0301)]}
    result["after"] |= {"score": -0.0342, "heads": [head("negative_nme", -0.0342)]}
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


def test_outputs_without_a_common_unit_are_told_each_by_itself() -> None:
    result = CASES["classes and values"]
    page = words(build_report(result))
    for said in (
        "-0.56 points of accuracy, to 97.56 % (digit)",
        "0.0254 mean absolute error, from 0.0212 (ink)",
        "Accuracy, digit 98.12 % 97.56 % -0.56 points",
        "Accuracy, is_odd 99.44 % 99.31 % -0.13 points",
        "Mean absolute error, ink 0.0212 0.0254",
        "train_model 0.31 ",
        "digit: accuracy 98.12 % 97.56 %",
        "is_odd: accuracy 99.44 % 99.31 %",
        "ink: mean absolute error 0.0212 0.0254",
    ):
        assert said in page
    assert page.count("Rows are true classes") == 2
    assert "mean of 3 outputs" not in page
    # Two class outputs have a mean.
    both = copy.deepcopy(result)
    both["task"]["score_name"] = "accuracy"
    for when in ("before", "after"):
        both[when]["heads"] = both[when]["heads"][:2]
        both[when]["score"] = sum(each["score"] for each in both[when]["heads"]) / 2
    assert "Accuracy, mean of 2 outputs 98.78 % 98.44 % -0.34 points" in words(build_report(both))


def test_a_figure_that_is_missing_is_a_dash() -> None:
    result = copy.deepcopy(RESULT) | {"agreement": None, "latency_ratio": None}
    for when in ("before", "after"):
        result[when]["latency_ms"] = None
    page = words(build_report(result))
    assert "Latency p50 – – Latency p90 – –" in page
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
    assert not re.search(r' d="[^"]*(nan|inf)', page)


def test_the_table_fits_and_says_it_all() -> None:
    console = Console(width=80, record=True, file=None)
    with console.capture() as capture:
        console.print(render_table(document_of(Result, RESULT, "result.json")))
    shown = capture.get()
    for said in ("99.44 %", "-0.40 points", "2.50x fewer", "14.13x smaller", "Peak memory", "reached"):
        assert said in shown
    (interval,) = (line for line in shown.splitlines() if "95 % interval" in line)
    assert "5.79x to 5.92x faster" in interval
    assert "…" not in shown


def test_what_went_wrong_stands_before_the_figures() -> None:
    page = words(build_report(CASES["busy"]))
    warnings = page[page.index("Warnings") : page.index("Before and after")]
    for said in (
        "Target max_latency_ms: 0.138 ms asked for, not reached with 0.140 ms, which is not sure: "
        "95 % interval 0.135 to 0.142 ms.",
        "fine_tune: validation accuracy is 0.69, where it was 0.90 before",
        "The machine was busy: other programs kept 1.7 of its 2 cores busy",
    ):
        assert said in warnings
    assert "Warnings" not in words(build_report(RESULT))


def test_figures_under_emulation_are_never_those_of_a_real_device() -> None:
    result = CASES["emulated on two nodes"]
    page = words(build_report(result))
    assert "5.86x faster on an emulated aarch64 (on x86_64), which says nothing, 1 thread" in page
    assert (
        "Latency was measured on Arm Cortex-A76, 2 cores, emulated aarch64 (on x86_64), on n1, n2: its "
        "times say nothing of a real one." in page
    )
    assert (
        "Target max_latency_ms: 1.00 ms asked for, not certain with about 0.140 ms, which is not sure: "
        "measured under emulation" in page
    )
    screen = Console(width=160, record=True, file=io.StringIO())
    screen.print(render_table(document_of(Result, result, "result.json")))
    shown = " ".join(screen.export_text().split())
    assert "emulated aarch64 (on x86_64)" in shown
    assert "NOT certain │" in shown
    page = markdown_of(document_of(Result, result, "result.json"))
    assert "emulated aarch64 (on x86\\_64), on n1, n2: its times say nothing of a real one" in page
    assert "not certain: measured under emulation" in page


def test_each_node_is_shown_with_what_it_measured() -> None:
    page = words(build_report(CASES["emulated on two nodes"]))
    assert "n1 Arm Cortex-A76 0.800 ms 0.140 ms 5.71x faster 5.60x to 5.80x faster" in page
    assert "n2 Arm Cortex-A76 0.900 ms 0.150 ms 6.00x faster" in page
    assert "Figures of several nodes are their medians" in page
    assert "Figures of several nodes" not in words(build_report(RESULT))


def test_a_file_that_became_slower_is_called_slower_wherever_it_is_told() -> None:
    page = words(build_report(CASES["busy"]))
    assert page.count("1.06x slower") == 3
    assert page.count("1.14x slower to 1.04x faster") == 3
    assert "0.94" not in page


def test_one_epoch_is_told_in_numbers() -> None:
    page = build_report(CASES["one epoch"])
    assert "train_model: loss epoch training validation 1 2.3 2.4" in words(page)
    # Of two histograms; there is no curve.
    assert page.count("<svg") == 2


def test_the_epoch_that_was_kept_is_shown() -> None:
    page = build_report(CASES["many epochs"])
    assert words(page).count("kept: epoch 120") == 2
    # 119 of 159 steps along the axis.
    assert page.count('<path class="kept" d="M74.84 0V100"/>') == 2


def test_each_output_has_its_score() -> None:
    page = words(build_report(CASES["three classifiers"]))
    for said in (
        "Accuracy, mean of 3 outputs 95.67 % 93.50 % -2.17 points",
        "Accuracy, digit 99.00 % 98.00 % -1.00 points",
        "Accuracy, is_even 97.00 % 97.50 % +0.50 points",
        "Accuracy, detector/classification_head_17/per_anchor_logits 91.00 % 85.00 % -6.00 points",
        "output train_model quantize_weights digit: accuracy 98.00 % 98.00 % is_even: accuracy 97.50 %",
    ):
        assert said in page
    names = re.findall("<h3>(.*?)</h3>", build_report(CASES["three classifiers"]))
    assert names[:3] == ["digit", "is_even", "detector/classification_head_17/per_anchor_logits"]


def test_what_is_not_counted_makes_figures_bounds() -> None:
    page = words(build_report(CASES["not all counted"]))
    for said in (
        "at most 2.50x fewer multiply-adds",
        "Multiply-adds (MACs) at least 40.5 M at least 16.2 M at most 2.50x fewer",
        "train_model 99.44 % at least 40.5 M",
        "Target speedup: 2.5x asked for, not certain with at most 2.505x.",
        "Multiply-adds that are not known, and not counted: spectrum (Odd), mixer (Custom).",
    ):
        assert said in page
    more = copy.deepcopy(CASES["not all counted"]) | {"speedup": 0.5}
    assert "at least 2.00x more multiply-adds" in words(build_report(more))


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.99158, 0.99172, ("0.9916", "0.99165", "0.9917")),
        (85.123, 85.131, ("85.124", "85.126", "85.128", "85.13")),
        (11_650, 11_710, ("11660", "11680", "11700")),
        (0, 12_000, ("0", "5000", "10000")),
        (-0.001, 0.0012, ("-0.001", "0", "0.001")),
        (1_000_000, 1_000_100, ("1e+06", "1.00005e+06", "1.0001e+06")),
    ],
)
def test_labels_tell_ticks_apart_without_needless_digits(
    low: float, high: float, labels: tuple[str, ...]
) -> None:
    axis = Axis(low, high, ticks(low, high))
    assert axis.labels == labels
    drawn = lines_svg([Line("a", ((low, low),))], Axis(0, 1, (0, 1)), axis, ("x", "y"), "")
    assert all(f">{label}</text>" in drawn for label in labels)


def test_a_run_without_training_has_no_curves() -> None:
    assert "Training" not in words(build_report(CASES["nothing trained"]))


def test_a_run_by_a_pipeline_shows_the_spec_to_copy() -> None:
    page = build_report(CASES["by a pipeline"])
    again = words(page[page.index("Do it again") :])
    assert "Save this as spec.yaml : model: resnet20 dataset: builtin: digits and run:" in again
    assert "pocketkube run spec.yaml --output runs/again" in again


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (251, 100, "2.51x faster"),
        (100, 107, "1.07x slower"),
        (100, 94, "1.06x faster"),
        (100, 100.2, "the same"),
    ],
)
def test_a_ratio_is_told_by_a_number_above_one_and_a_word(
    before: float, after: float, said: str
) -> None:
    assert ratio(before, after, TIME) == said
    assert ratio_words(before / after, TIME) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (1.93, 1.99, "1.93x to 1.99x faster"),
        (0.5, 0.8, "1.25x to 2.00x slower"),
        (0.98, 1.03, "1.02x slower to 1.03x faster"),
        (1.001, 1.2, "the same to 1.20x faster"),
        (1.5, 1.501, "1.50x faster"),
    ],
)
def test_an_interval_of_ratios_is_told_from_end_to_end(low: float, high: float, said: str) -> None:
    assert ratio_between(low, high, TIME) == said


def damaged(*path: str | int, value: Any, case: str = "plain") -> dict[str, Any]:
    """A result with another value in one place; without the place where the value is ...."""
    # By way of JSON: a deep copy's sides would share what the case's share.
    content: dict[str, Any] = json.loads(json.dumps(CASES[case]))
    *above, last = path
    place: Any = content
    for key in above:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (damaged("spec", "model", value=7), "spec: model has to be a network's name or a file"),
        (damaged("spec", "model", value=...), "spec: model has to be a network's name or a file"),
        (damaged("after", "threads", "2", value=...), "differ in their threads: ['1', '2'] and ['1']"),
        (damaged("before", "heads", value=[]), "before and after differ in their heads: 0 and 1"),
        (damaged("after", "heads", 0, "also", value=[["a", 1]]), "differ in their further shares"),
        (damaged("before", "size_bytes", value=0), "before.size_bytes: input should be greater than 0"),
        (damaged("after", "threads", "1", "p50", value=0), "after.threads.1.p50: input should be grea"),
        (damaged("after", "latency_samples_ms", 0, value=math.nan), "latency_samples_ms.0: input shou"),
        (damaged("latency_ratios", "1", "low", value=0), "have to be greater than 0"),
        (damaged("after", "load_ms", value=math.inf), "after.load_ms: input should be a finite number"),
        (damaged("speedup", value=math.inf), "speedup: input should be a finite number"),
        (damaged("targets", 0, "name", value="speed"), "targets.0.name: input should be 'speedup', "),
        (damaged("task", "score_name", value="luck"), "task: no score of the name 'luck' is known"),
        (damaged("task", "heads", 0, "kind", value="luck"), "heads: no task of the kind 'luck' is"),
        (
            damaged("after", "heads", 0, "score_name", value="luck"),
            "after.heads.0.score_name: no score",
        ),
        (damaged("after", "heads", 0, "confusion", 0, value=[1]), "as many columns as rows"),
        (damaged("stages", 0, "history", "val_loss", value=[]), "have [2, 2, 0, 2, 2] entries"),
        (damaged("search", "best", value=99, case="searched"), "search: best: no trial 99 has a score"),
        (damaged("search", "trials", 2, "number", value=0, case="searched"), "have the same number"),
        (
            damaged("search", "score_name", value="luck", case="searched"),
            "search: no score of the name",
        ),
    ],
)
def test_a_file_that_contradicts_itself_is_said_to_be_damaged(content, said: str) -> None:
    with pytest.raises(UserError) as caught:
        build_report(content)
    assert str(caught.value).startswith("result.json is damaged: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trial_that_diverged_has_no_place_on_the_plot() -> None:
    page = build_report(damaged("search", "trials", 2, "score", value=math.nan, case="searched"))
    assert "of 28 trials are beaten by none" in page
    assert not re.search(r' d="[^"]*(nan|inf)', page)
