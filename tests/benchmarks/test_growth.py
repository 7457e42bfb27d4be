"""What the measurement of growing networks makes of what it measures."""

import pytest

from tests.benchmarks.growth import RESNET, STEPS, Grown, svg, table


def _grown(layers: int, parameters: int, seconds: float) -> Grown:
    return Grown(layers, parameters, dict.fromkeys(STEPS, seconds), dict.fromkeys(STEPS, 3 << 20))


def test_the_table_says_with_which_power_time_grows() -> None:
    found = {"20": _grown(10, 100, 0.5), "56": _grown(30, 500, 3.0), "110": _grown(100, 10_000, 50.0)}
    lines = table({RESNET: found}).splitlines()[2:]
    assert lines[0].startswith("| ResNet 20 | 10 | 0.0 M | 0.50 s, 3 MiB | 0.50 s, 3 MiB |")
    # Ten times as many layers and a hundred times as many parameters take a hundred times as long.
    assert lines[3] == f"| ResNet: power of layers | | |{' 2.00 |' * len(STEPS)}"
    assert lines[4] == f"| ResNet: power of parameters | | |{' 1.00 |' * len(STEPS)}"


def test_of_what_takes_no_time_no_power_is_said() -> None:
    line = table({RESNET: {"20": _grown(10, 100, 0.0), "56": _grown(30, 500, 1.0)}}).splitlines()[4]
    assert line == f"| ResNet: power of layers | | |{'  |' * len(STEPS)}"


def test_the_plot_names_each_step() -> None:
    drawn = svg(RESNET, [_grown(10, 100, 0.5), _grown(100, 1000, 5.0)])
    assert all(step in drawn for step in STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_measured(step: str, small_network: dict[str, dict[str, float]]) -> None:
    assert small_network["seconds"][step] > 0


@pytest.fixture(scope="module")
def small_network() -> dict[str, dict[str, float]]:
    from tests.benchmarks.growth import measured

    return measured(RESNET, "8")
