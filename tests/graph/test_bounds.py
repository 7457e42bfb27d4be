"""A ratio of multiply-adds that are not all known is a bound, and a bound above reaches nothing."""

import pytest

from pocketkube.graph.bounds import compare_macs

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
