"""Finds the measure again that facts tell of, and the wording of a score's name."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pocketkube.measures.classes import Classes
from pocketkube.measures.measure import Measure
from pocketkube.measures.points import Points
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording

MEASURES: dict[str, type[Measure]] = {kind.kind: kind for kind in (Classes, Values, Points)}


def measure_of(told: Mapping[str, Any]) -> Measure:
    """The measure of a task as bundles, results and samples tell of it.

    Args:
        told: Its `kind`, and the fields of the kind's measure; what else there is stays unread.

    Raises:
        KeyError: If there is no such kind.
    """
    kind: Any = MEASURES[told["kind"]]
    given = {field.name: told[field.name] for field in fields(kind) if field.name in told}
    # JSON has lists alone.
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def wording_of(score_name: str) -> Wording:
    """How a score of that name is read."""
    return next(
        measure.wording for measure in MEASURES.values() if measure.wording.score_name == score_name
    )
