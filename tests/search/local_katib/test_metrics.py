"""Metrics are read from lines as Katib's collector reads them."""

import math

import pytest

from pocketkube.errors import UserError
from pocketkube.search.local_katib.experiment import Collector, Objective
from pocketkube.search.local_katib.metrics import LineReader, Reported, first_mean, observe

TEXT = Collector("StdOut", "", is_json=False, filters=())
JSON = Collector("File", "/m", is_json=True, filters=())


def values(collector: Collector, *lines: str, metrics: tuple[str, ...] = ("loss", "F-1")) -> list:
    reader = LineReader(collector, metrics)
    return [(each.metric, each.value) for line in lines for each in reader.read(line)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        # The forms that Katib's own description names.
        ("loss=0.3", [("loss", 0.3)]),
        ("loss=.98", [("loss", 0.98)]),
        ("loss=-7.53e-05", [("loss", -7.53e-05)]),
        ("loss=-7.53e+05", [("loss", -7.53e05)]),
        ("loss=1E0", [("loss", 1.0)]),
        ("loss=1.23E10", [("loss", 1.23e10)]),
        ("batch1 loss = 0.8 F-1=0.4", [("loss", 0.8), ("F-1", 0.4)]),
        ("loss=0.5, loss=0.4", [("loss", 0.5), ("loss", 0.4)]),
        ("val_loss=0.1", []),
        ("loss=nan", []),
        ("loss: 0.3", []),
        ("accuracy=1", []),
    ],
)
def test_text_without_a_filter(line: str, found: list) -> None:
    assert values(TEXT, line) == found


def test_a_filter_of_ones_own_takes_the_place_of_the_usual_one() -> None:
    own = Collector("File", "/m", is_json=False, filters=(r"\{(\w+): (-?\d+(\.\d+)?)\}",))
    assert values(own, "{loss: 0.25} loss=3") == [("loss", 0.25)]


def test_json_lines_hold_texts() -> None:
    lines = ['{"loss": "0.5", "step": 1}', "", '{"loss": 0.25}', '{"F-1": "1e-2"}']
    assert values(JSON, *lines) == [("loss", 0.5), ("F-1", 0.01)]
    with pytest.raises(UserError, match="no JSON object: loss=1"):
        values(JSON, "loss=1")
    with pytest.raises(UserError, match="no JSON object: epoch 1"):
        values(JSON, "epoch 1")


def test_the_latest_value_is_that_of_the_latest_time() -> None:
    reader = LineReader(TEXT, ["loss"])
    lines = [
        "2024-05-01T10:00:02Z loss=0.1",
        "2024-05-01T10:00:00.5Z loss=0.4",
        "2024-05-01T12:00:01+02:00 loss=0.9",
    ]
    seen = observe(each for line in lines for each in reader.read(line))["loss"]
    assert (seen.min, seen.max, seen.latest) == (0.1, 0.9, 0.1)
    # Without times, it is that of the last line.
    untimed = observe(each for line in ("loss=1", "loss=2") for each in reader.read(line))["loss"]
    assert untimed.latest == 2


@pytest.mark.parametrize(("strategy", "value"), [("min", 1.0), ("max", 4.0), ("latest", 2.0)])
def test_the_strategy_says_which_value_counts(strategy, value: float) -> None:
    objective = Objective(False, None, "loss", (), {"loss": strategy})
    reports = [each for x in (4, 1, 2) for each in LineReader(TEXT, ["loss"]).read(f"loss={x}")]
    assert observe(reports)["loss"].counted(strategy) == value
    mean = first_mean(objective, reports, 2)
    assert mean is not None
    assert math.isclose(mean, 2.5)
    assert first_mean(objective, list[Reported](), 2) is None
