"""Figures as people read them."""

import pytest

from pocketkube.figures import count, milliseconds, ratio, ratio_between, size
from pocketkube.measures import wording_of
from pocketkube.measures.wording import score_change


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (count(40_812_345), "40.8 M"),
        (count(999), "999"),
        (count(999_400), "999 k"),
        (count(999_600), "1 M"),
        (size(999_700), "1 MB"),
        (size(275_600), "276 kB"),
        (milliseconds(999.7), "1000 ms"),
        (milliseconds(0.82), "0.820 ms"),
    ],
)
def test_what_rounds_up_to_a_thousand_is_one_of_the_next_unit(shown: str, wanted: str) -> None:
    assert shown == wanted


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (ratio(1.0, 7.593716e30), "7.59e+30x more"),
        (ratio(1e4, 1.0), "1.00e+04x less"),
        (ratio(9999.99, 1.0), "9999.99x less"),
        (ratio_between(1e6, 2e6), "1.00e+06x to 2.00e+06x less"),
        (wording_of("negative_nme").shown(-7.593716e30), "7.59e+32 %"),
        (score_change(wording_of("negative_nme"), -0.03, -7.593716e30), "+7.59e+32 points"),
        (score_change(wording_of("negative_nme"), -0.03, -0.04), "+1.00 points"),
    ],
)
def test_what_diverged_is_written_with_three_digits(shown: str, wanted: str) -> None:
    assert shown == wanted
