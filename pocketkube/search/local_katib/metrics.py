"""Reads metrics as Katib's collector does: `name=value` in text, or a JSON object a line."""

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pocketkube.errors import UserError
from pocketkube.search.local_katib.experiment import Collector, Objective, Strategy

# What text is searched for where an experiment gives no filter of its own: loss=0.3, Score=-7.53e-05.
DEFAULT_FILTER = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"


@dataclass(frozen=True)
class Reported:
    """A value of a metric, once.

    Attributes:
        metric: The metric's name.
        value: The value.
        time: When it was reported; the beginning of time where the line does not say.
    """

    metric: str
    value: float
    time: datetime


@dataclass(frozen=True)
class Observed:
    """What came of a metric.

    Attributes:
        min: The smallest value.
        max: The largest one.
        latest: The last one by its time, and by its line where times are equal.
    """

    min: float
    max: float
    latest: float

    def counted(self, strategy: Strategy) -> float:
        """The value that counts by a strategy."""
        return {"min": self.min, "max": self.max, "latest": self.latest}[strategy]


class LineReader:
    """Reads a trial's lines one by one.

    Args:
        collector: How they are written.
        metrics: The names of the metrics that are wanted.
    """

    def __init__(self, collector: Collector, metrics: Sequence[str]) -> None:
        self._is_json = collector.is_json
        self._metrics = tuple(metrics)
        filters = collector.filters or (DEFAULT_FILTER,)
        # In Go's regular expressions \w and \d are ASCII's.
        self._filters = [re.compile(each, re.ASCII) for each in filters]

    def read(self, line: str) -> list[Reported]:
        """The values that a line reports, in their order.

        Values that are no finite numbers are left out.

        Args:
            line: Without its end.

        Raises:
            UserError: If it has to be JSON, and is not.
        """
        if not any(metric in line for metric in self._metrics):
            if self._is_json and line:
                self._object(line)
            return []
        found = self._json(line) if self._is_json else self._text(line)
        return [each for each in found if math.isfinite(each.value)]

    def _text(self, line: str) -> Iterator[Reported]:
        time = _time(line.split(" ", 1)[0]) if " " in line else _NEVER
        for pattern in self._filters:
            for match in pattern.finditer(line):
                name, text = (match[1] or "").strip(), (match[2] or "").strip()
                if name in self._metrics:
                    yield Reported(name, _number(text), time)

    def _json(self, line: str) -> Iterator[Reported]:
        fields = self._object(line)
        time = _time(fields.get("timestamp"))
        for metric in self._metrics:
            text = fields.get(metric)
            # Katib takes texts alone.
            if isinstance(text, str):
                yield Reported(metric, _number(text.strip()), time)

    def _object(self, line: str) -> dict[str, object]:
        try:
            fields = json.loads(line)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            raise UserError(f"the metrics file has a line that is no JSON object: {line:.80}")
        return fields


def observe(reports: Iterable[Reported]) -> dict[str, Observed]:
    """What came of each metric that was reported, by its name."""
    by_name: dict[str, list[Reported]] = {}
    for each in _in_time(reports):
        by_name.setdefault(each.metric, []).append(each)
    found = {}
    for name, all_reports in by_name.items():
        values = [each.value for each in all_reports]
        found[name] = Observed(min(values), max(values), values[-1])
    return found


def first_mean(objective: Objective, reports: Iterable[Reported], count: int) -> float | None:
    """The mean of the first values of the objective's metric.

    Args:
        objective: Names the metric.
        reports: All that a trial reported.
        count: How many values.
    """
    values = [each.value for each in _in_time(reports) if each.metric == objective.metric][:count]
    return sum(values) / len(values) if values else None


def _in_time(reports: Iterable[Reported]) -> list[Reported]:
    return sorted(reports, key=lambda each: each.time)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


_NEVER = datetime.min.replace(tzinfo=UTC)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def _time(stamp: object) -> datetime:
    """A time as RFC 3339 has it, or in seconds since 1970."""
    try:
        if isinstance(stamp, str) and _RFC3339.fullmatch(stamp):
            return datetime.fromisoformat(stamp)
        if isinstance(stamp, int | float) and not isinstance(stamp, bool):
            return datetime.fromtimestamp(stamp, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return _NEVER
