"""A schedule is what KFP's controller takes, and starts nothing without end."""

import random
from contextlib import suppress

import pytest

from pocketkube.errors import UserError
from pocketkube.kube.kfp.cron import check_cron


@pytest.mark.parametrize(
    "text",
    [
        "0 0 3 * * 1",
        "0 */15 * * * *",
        "30 5,10-20/5 0-23 ? JAN-jun,12 Mon-FRI",
        "0 0 0 29 2 *",
        "0 0 3 31 * 0",
        "0 10/20 * * * *",
    ],
)
def test_what_a_back_end_takes(text: str) -> None:
    assert check_cron(text) == text


def test_spaces_are_made_even() -> None:
    assert check_cron("  0 0\t3  * * 1 ") == "0 0 3 * * 1"


def test_five_fields_are_refused_with_the_six_that_were_meant() -> None:
    with pytest.raises(UserError, match=r"five fields.*fires without end.*'0 0 3 \* \* 1'"):
        check_cron("0 3 * * 1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has not six fields"),
        ("@daily", "has not six fields"),
        ("0 0 0 3 * * 1", "has not six fields"),
        ("* * * * * *", "more than once a minute"),
        ("*/5 0 3 * * *", "more than once a minute"),
        ("0 60 3 * * *", "minute '60' is not within 0 to 59"),
        ("0 0 24 * * *", "hour '24' is not within 0 to 23"),
        ("0 0 3 0 * *", "day of month '0' is not within 1 to 31"),
        ("0 0 3 * 13 *", "month '13' is not within 1 to 12"),
        ("0 0 3 * * 7", "day of week '7' is not within 0 to 6"),
        ("0 0 3 * * mo", "day of week 'mo' is no number or of sun, mon"),
        ("0 0 5-3 * * *", "ends before it begins"),
        ("0 */0 * * * *", "a step of 0"),
        ("0 a 3 * * *", "minute 'a' is no number"),
        ("0 -1 3 * * *", "is neither"),
        ("0 1.5 3 * * *", "is neither"),
        ("0 0 3 L * *", "is no number"),
        ("0 ² 3 * * *", "is neither"),
        ("0 0 3 30 2 *", "never fires: no such month has a day 30"),
        ("0 0 3 31 4,6,9,11 ?", "never fires"),
    ],
)
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_cron(text)


def test_a_day_that_a_week_has_comes_even_in_a_month_that_is_short() -> None:
    assert check_cron("0 0 3 30 2 1") == "0 0 3 30 2 1"


def test_whatever_comes_is_taken_or_refused() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        text = "".join(rng.choices("0123456789*/-,?@ amon²", k=rng.randint(0, 20)))
        with suppress(UserError):
            assert len(check_cron(text).split()) == 6
