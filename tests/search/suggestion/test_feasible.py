"""Values of a feasible space, as Katib is told them."""

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.search.suggestion.feasible import feasible


@pytest.mark.parametrize(
    ("kind", "space", "value", "text"),
    [
        ("DOUBLE", ("0.05", "1", "0.05", ()), 0.30000000000000004, "0.3"),
        ("DOUBLE", ("0.05", "1", "0.05", ()), 0.32, "0.3"),
        ("DOUBLE", ("0", "1", "", ()), 1 / 3, "0.3333333333"),
        ("DOUBLE", ("0.25", "0.9", "0.25", ()), 2.0, "0.75"),
        ("DOUBLE", ("0.25", "1", "", ()), -1.0, "0.25"),
        ("INT", ("2", "8", "", ()), 3.9999, "4"),
        ("INT", ("2", "8", "2", ()), 5.1, "6"),
        ("DISCRETE", ("", "", "", ("0.30", "0.5", "1e0")), 0.31, "0.30"),
        ("CATEGORICAL", ("", "", "", ("2", "4", "8")), 7.0, "8"),
    ],
)
def test_the_nearest_value_without_dust(
    kind: str, space: tuple[str, str, str, tuple[str, ...]], value: float, text: str
) -> None:
    assert feasible("a", kind, *space).text(value) == text


def test_what_is_drawn_is_feasible() -> None:
    space, rng = feasible("a", "DOUBLE", "0.1", "0.7", "0.2", ()), np.random.default_rng(0)
    assert {space.drawn(rng) for _ in range(60)} == {"0.1", "0.3", "0.5", "0.7"}


@pytest.mark.parametrize(
    ("kind", "space", "said"),
    [
        ("DOUBLE", ("x", "1", "", ()), "min"),
        ("DOUBLE", ("0", "inf", "", ()), "max"),
        ("DOUBLE", ("1", "0", "", ()), "above max"),
        ("DOUBLE", ("0", "1", "0", ()), "step"),
        ("INT", ("0", "4", "0.5", ()), "step"),
        ("DISCRETE", ("", "", "", ()), "empty list"),
        ("CATEGORICAL", ("", "", "", ("adam",)), "list has to be a number"),
        ("UNKNOWN_TYPE", ("0", "1", "", ()), "type"),
    ],
)
def test_what_cannot_be_is_told_with_the_parameters_name(
    kind: str, space: tuple[str, str, str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(UserError, match=f"parameter conv1.kept: .*{said}"):
        feasible("conv1.kept", kind, *space)
