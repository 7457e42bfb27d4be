"""The values of variables, taken out and put back."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def values_of(variables: Sequence[Any]) -> list[np.ndarray]:
    """Copies of variables' values."""
    return [np.array(variable) for variable in variables]


def assign_all(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Gives each variable its value."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
