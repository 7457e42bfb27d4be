"""Numbers that no model computes with are found, without a copy of the data that they are in."""

import tracemalloc

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.finite import refuse_not_finite


@pytest.mark.parametrize("value", [np.nan, -np.inf, 1e300])
def test_the_example_is_named_wherever_it_is_in_large_data(value: float) -> None:
    numbers = np.zeros((300, 200, 100))
    for bad in (2, 171, 299):
        numbers[bad, 3, 4] = value
    with pytest.raises(UserError, match=r"3 of 300 examples have .* the first of them example 2\."):
        refuse_not_finite("a.npz", "inputs", [numbers])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_no_copy_of_all_is_made(kind: type) -> None:
    numbers = np.zeros((300, 1000, 300), kind)
    tracemalloc.start()
    try:
        refuse_not_finite("a.npz", "inputs", [numbers, numbers[:, ::2]])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < numbers.nbytes / 8


def test_data_without_examples_or_without_numbers_have_none_that_is_bad() -> None:
    refuse_not_finite("a.npz", "inputs", [np.zeros((0, 4)), np.zeros((4, 0)), np.zeros(3)])
