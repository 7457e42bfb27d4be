"""Finds the measures again that facts tell of, and the wording of a score's name."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from pocketkube.extension import tasks
from pocketkube.measures.classes import Classes
from pocketkube.measures.heads import NO_UNIT, HeadMeasure, TaskMeasure
from pocketkube.measures.measure import Measure
from pocketkube.measures.points import Points
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording

MEASURES: dict[str, type[Measure]] = {kind.kind: kind for kind in (Classes, Values, Points)}


def task_measure_of(told: Mapping[str, Any]) -> TaskMeasure:
    """How the outputs of a task are judged, which bundles, results and samples tell of.

    Args:
        told: Its `heads`, each with what `measure_of` reads and, where there is more than labels to
            tell by, a `name` and whether it is `scored`; what else there is stays unread.

    Raises:
        KeyError: If there is no such kind.
    """
    return TaskMeasure(
        tuple(
            HeadMeasure(head.get("name", f"y{number}"), measure_of(head), head.get("scored", True))
            for number, head in enumerate(told["heads"])
        )
    )


def measure_of(told: Mapping[str, Any]) -> Measure:
    """The measure of one output.

    Args:
        told: Its `kind`, and the fields of the kind's measure.

    Raises:
        KeyError: If there is no such kind.
    """
    kind: Any = MEASURES.get(told["kind"]) or _added(told["kind"])
    given = {field.name: told[field.name] for field in fields(kind) if field.name in told}
    # JSON has lists alone.
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in given.items()})


def wording_of(score_name: str) -> Wording:
    """How a score of that name is read."""
    known = [*(measure.wording for measure in MEASURES.values()), NO_UNIT]
    found = [wording for wording in known if wording.score_name == score_name]
    added = (_added(name).wording for name in tasks.names())
    return found[0] if found else next(each for each in added if each.score_name == score_name)


def _added(name: str) -> type[Measure]:
    """The measure of a task that a package adds.

    Raises:
        KeyError: If there is none of that name.
    """
    task = tasks.find(name, tuple(MEASURES))
    if task is None:
        raise KeyError(name)
    measure: type[Measure] = task.measure
    return measure
