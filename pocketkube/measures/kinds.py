"""All kinds of measures: finds one by what facts say of it, and the wording of a score's name."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from pocketkube.extension import tasks
from pocketkube.measures.classes import Classes
from pocketkube.measures.maps import Maps
from pocketkube.measures.measure import Measure
from pocketkube.measures.multi_label import MultiLabel
from pocketkube.measures.output_heads import NO_UNIT, HeadMeasure, TaskMeasure
from pocketkube.measures.points import Points
from pocketkube.measures.task_facts import OutputsFacts
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording, agreement_wording

MEASURES: dict[str, type[Measure]] = {
    kind.kind: kind for kind in (Classes, Maps, MultiLabel, Values, Points)
}


def task_measure_of(task: OutputsFacts) -> TaskMeasure:
    """How the outputs of a task are judged.

    Args:
        task: What a bundle, a result or samples say of it.

    Raises:
        KeyError: If there is no such kind.
    """
    return TaskMeasure(
        tuple(
            HeadMeasure(head.name or f"y{number}", measure_of(head.model_dump()), head.scored)
            for number, head in enumerate(task.heads)
        )
    )


def measure_of(config: Mapping[str, Any]) -> Measure:
    """The measure of one output.

    Args:
        config: Its `kind`, and the fields of the kind's measure.

    Raises:
        KeyError: If there is no such kind.
    """
    kind: Any = MEASURES.get(config["kind"]) or _added(config["kind"])
    settings = {field.name: config[field.name] for field in fields(kind) if field.name in config}
    # JSON has lists alone.
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in settings.items()})


def wording_of(score_name: str) -> Wording:
    """How a score of that name is read."""
    known = _called([*(measure.wording for measure in MEASURES.values()), NO_UNIT], score_name)
    return known or next(
        found for name in tasks.names() if (found := _called([_added(name).wording], score_name))
    )


def _called(wordings: Sequence[Wording], score_name: str) -> Wording | None:
    each = [*wordings, *map(agreement_wording, wordings)]
    return next((wording for wording in each if wording.score_name == score_name), None)


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
