"""When a recurring run starts: KFP's cron, which differs from everyone else's."""

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pocketkube.errors import UserError

_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check_cron(text: str) -> str:
    """Checks a schedule: second, minute, hour, day of month, month, day of week.

    Args:
        text: As in "0 0 3 * * 1", each Monday at three. The clock is the cluster's, UTC unless its
            controller is told otherwise.

    Returns:
        The schedule with single spaces.

    Raises:
        UserError: If a back end would not take it, or would start runs without end.

    Examples:
        >>> check_cron("0 0  3 * * MON-FRI")
        '0 0 3 * * MON-FRI'
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        raise UserError(_wrong_count(text, words))
    for field, word in zip(_FIELDS, words, strict=True):
        _check_field(field, word, text)
    if not words[0].isdigit():
        raise UserError(
            f"{text!r} fires more than once a minute: its first field is the second, a number "
            "such as 0."
        )
    _refuse_date_that_never_comes(words, text)
    return " ".join(words)


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, tuple(name.lower() for name in calendar.month_abbr[1:])),
    # Sunday is 0, and not 7 as well.
    _Field("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


def _wrong_count(text: str, words: list[str]) -> str:
    if len(words) == 5:
        return (
            f"{text!r} has five fields, which Kubeflow Pipelines takes for second to month and "
            f"then fires without end; write six, the second first: {' '.join(['0', *words])!r}."
        )
    return (
        f"{text!r} has not six fields: second, minute, hour, day of month, month, day of week, "
        "as in '0 0 3 * * 1'."
    )


def _check_field(field: _Field, word: str, text: str) -> None:
    for part in word.split(","):
        try:
            _values(field, part)
        except ValueError as error:
            raise UserError(f"{text!r}: {field.name} {part!r} {error}.") from None


def _values(field: _Field, part: str) -> list[int]:
    """The values that one part of a field stands for, as in 3, MON-FRI, */15 or 10-40/10."""
    found = re.fullmatch(r"(?P<first>[*?]|\w+)(-(?P<last>\w+))?(/(?P<step>\d+))?", part, re.ASCII)
    if found is None or (found["first"] in "*?" and found["last"]):
        raise ValueError("is neither *, a number, a range such as 2-5 nor a step such as */15")
    if found["first"] in "*?":
        first, last = field.least, field.most
    else:
        first = _number(field, found["first"])
        # A step without an end goes on to the field's last.
        last = (
            _number(field, found["last"]) if found["last"] else field.most if found["step"] else first
        )
    if not field.least <= first <= field.most or not field.least <= last <= field.most:
        raise ValueError(f"is not within {field.least} to {field.most}")
    if first > last:
        raise ValueError("is a range that ends before it begins")
    step = int(found["step"] or 1)
    if step == 0:
        raise ValueError("has a step of 0")
    return list(range(first, last + 1, step))


def _number(field: _Field, word: str) -> int:
    if word.lower() in field.names:
        return field.names.index(word.lower()) + field.least
    if not word.isdigit():
        known = f" or of {', '.join(field.names)}" if field.names else ""
        raise ValueError(f"is no number{known}")
    return int(word)


def _refuse_date_that_never_comes(words: list[str], text: str) -> None:
    """KFP's controller looks for such a date without end."""
    days, months, weekdays = words[3:]
    if weekdays[0] not in "*?":
        return
    first_day = min(_all_values(_FIELDS[3], days))
    longest = max(_DAYS_IN_MONTH[month - 1] for month in _all_values(_FIELDS[4], months))
    if first_day > longest:
        raise UserError(f"{text!r} never fires: no such month has a day {first_day}.")


def _all_values(field: _Field, word: str) -> Iterator[int]:
    for part in word.split(","):
        yield from _values(field, part)
