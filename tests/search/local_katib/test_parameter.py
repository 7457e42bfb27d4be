"""Values of parameters: inside their bounds, on their steps, and found again from their text."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.search.local_katib.parameter import Parameter

PARAMETERS = [
    Parameter("a", "double", 0.01, 0.05),
    Parameter("a", "double", 1, 5, 0.1),
    Parameter("a", "double", 0.3, 0.3),
    Parameter("a", "double", 1e-6, 10, distribution="logUniform"),
    Parameter("a", "double", -2, 2, distribution="normal"),
    Parameter("a", "double", 0.1, 10, 0.1, distribution="logNormal"),
    Parameter("a", "int", -3, 4),
    Parameter("a", "int", 50, 150, 10),
    Parameter("a", "int", 32, 64, distribution="logUniform"),
    Parameter("a", "discrete", values=("0.1", "0.5", "2")),
    Parameter("a", "categorical", values=("sgd", "adam")),
]


@pytest.mark.parametrize("parameter", PARAMETERS)
@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1))
def test_a_value_is_allowed_and_its_place_gives_it_again(parameter: Parameter, place: float) -> None:
    text = parameter.value_at(place)
    again = parameter.value_at(parameter.place_of(text))
    if parameter.size:
        assert again == text
    else:
        assert math.isclose(float(again), float(text), rel_tol=1e-9, abs_tol=1e-9)
    if not parameter.is_number:
        assert text in parameter.values
        return
    assert parameter.least <= float(text) <= parameter.most
    assert parameter.kind == "double" or str(int(text)) == text
    if parameter.step:
        steps = (float(text) - parameter.least) / parameter.step
        assert math.isclose(steps, round(steps), abs_tol=1e-6)


def test_numbers_have_no_dust() -> None:
    steps = Parameter("a", "double", 0.1, 1, 0.05)
    assert [steps.value(index) for index in range(5)] == ["0.1", "0.15", "0.2", "0.25", "0.3"]
    assert steps.size == 19


def test_each_value_of_a_list_or_grid_has_the_same_share() -> None:
    places = np.linspace(0, 1, 3000, endpoint=False)
    for parameter in (
        Parameter("a", "int", 1, 3),
        Parameter("a", "categorical", values=("x", "y", "z")),
    ):
        _, counts = np.unique([parameter.value_at(place) for place in places], return_counts=True)
        assert counts.tolist() == [1000, 1000, 1000]


def test_distributions_are_what_their_names_say() -> None:
    places = (np.arange(20000) + 0.5) / 20000
    log = np.log([float(PARAMETERS[3].value_at(place)) for place in places])
    assert np.allclose(np.histogram(log, 10)[0], 2000, atol=2)
    normal = np.array([float(PARAMETERS[4].value_at(place)) for place in places])
    # Six deviations between the bounds.
    assert normal.std() == pytest.approx(4 / 6, rel=0.03)
    assert normal.mean() == pytest.approx(0, abs=1e-3)
