"""Figures as people read them."""

import pytest

from pocketkube.figures import count, milliseconds, size


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
