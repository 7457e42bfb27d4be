"""Recurring runs that are as a file says, however often it is applied."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError

from pocketkube.errors import UserError
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.cron import check_cron
from pocketkube.kube.kfp.package import digest_of
from pocketkube.kube.kfp.runs import EXPERIMENT, experiment_id, what_runs
from pocketkube.kube.kfp.versions import Version, listed, named
from pocketkube.kube.kfp.yaml_text import document_of
from pocketkube.spec.problems import problems_of
from pocketkube.spec.settings import Place, Settings

# Stands in a recurring run's description, and tells whether it is what is wanted.
_KEYS = {"schedules"}
_MARK = "kept by pocketkube, as of "


class Schedule(Settings):
    """A recurring run.

    Attributes:
        name: Its name; what has the same name is replaced where it is another.
        pipeline: The name of the pipeline, whose newest version of ours runs.
        cron: When; see `check_cron`.
        parameters: The pipeline's parameters.
        catch_up: Whether runs that were missed are made up for.
        max_concurrency: How many run at a time.
        enabled: Whether it runs at all.
        service_account: What its pods run as; the back end's default if empty.
        experiment: The group of runs that it is shown in.
    """

    name: Place = Field(description="The name that it is to have.")
    pipeline: Place = Field(description="The pipeline's name, as compress-model.")
    cron: Annotated[str, AfterValidator(lambda text: _checked(text))] = Field(
        description="When, as in '0 0 3 * * 1'."
    )
    parameters: dict[str, Any] = Field({})
    catch_up: bool = False
    max_concurrency: int = Field(1, ge=1, le=10)
    enabled: bool = True
    service_account: str = ""
    experiment: Place = EXPERIMENT


class Change(StrEnum):
    """What was done to a recurring run."""

    MADE = "made"
    REPLACED = "replaced"
    KEPT = "unchanged"


@dataclass(frozen=True)
class Applied:
    """A recurring run as it is now.

    Attributes:
        name: Its name.
        recurring_run_id: Its id.
        change: What was done.
        link: Its page.
    """

    name: str
    recurring_run_id: str
    change: Change
    link: str


def load_schedules(path: Path) -> tuple[Schedule, ...]:
    """Reads a YAML file with a list `schedules`.

    Raises:
        UserError: If it cannot be read, a schedule is wrong, or two have one name.
    """
    try:
        document = document_of(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UserError(f"{path}: is not YAML.") from None
    entries = document["schedules"] if isinstance(document, dict) and set(document) == _KEYS else 0
    if not isinstance(entries, list | None):
        raise UserError(f"{path}: has to be one list, schedules.")
    schedules = [_entry(each, f"{path} schedules[{i}]") for i, each in enumerate(entries or ())]
    names = [each.name for each in schedules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"{path}: the schedule {twice} is there twice.")
    return tuple(schedules)


def schedule_of(document: Any, named: Callable[[str], str]) -> Schedule:
    """Checks a schedule's settings.

    Args:
        document: The settings.
        named: What messages call one of them, by its key; of an empty one the schedule.

    Raises:
        UserError: If one is wrong; names it.
    """
    try:
        return Schedule.model_validate(document)
    except ValidationError as error:
        problem = problems_of(error, document, Schedule)[0]
        raise UserError(f"{named(problem.path)}: {problem.message}") from None


def apply_schedule(backend: Backend, version: Version, schedule: Schedule) -> Applied:
    """Makes a recurring run, or replaces the one of its name where it is another.

    The new one is there before the old one goes: whatever ends this half-way, runs go on, and the same
    call puts it right.

    Raises:
        UserError: If the back end is away or refuses.
    """
    what, mark = f"recurring run {schedule.name}", _MARK + _definition(version, schedule)
    query = {"filter": named(schedule.name), "namespace": backend.namespace}
    known = list(listed(backend, what, "/recurringruns", "recurringRuns", query))
    # One that was paused or started in the UI is not what the schedule says any more.
    status = "ENABLED" if schedule.enabled else "DISABLED"
    current = next(
        (
            each
            for each in known
            if each.get("description") == mark and each.get("status", status) == status
        ),
        None,
    )
    made = current or backend.ask(
        what, "POST", "/recurringruns", body=_document(backend, version, schedule, mark)
    )
    kept = str(made["recurring_run_id"])
    others = [str(each["recurring_run_id"]) for each in known if str(each["recurring_run_id"]) != kept]
    for other in others:
        backend.ask(what, "DELETE", f"/recurringruns/{other}")
    change = Change.KEPT if current else Change.REPLACED if others else Change.MADE
    return Applied(schedule.name, kept, change, f"{backend.ui}/#/recurringrun/details/{kept}")


def _entry(document: Any, place: str) -> Schedule:
    return schedule_of(document, lambda key: f"{place} {key}".rstrip())


def _checked(text: str) -> str:
    try:
        return check_cron(text)
    except UserError as error:
        raise ValueError(str(error)) from None


def _definition(version: Version, schedule: Schedule) -> str:
    return digest_of([version.version_id, schedule.model_dump()])


def _document(backend: Backend, version: Version, schedule: Schedule, mark: str) -> dict[str, Any]:
    return {
        "display_name": schedule.name,
        "description": mark,
        "experiment_id": experiment_id(backend, schedule.experiment),
        "namespace": backend.namespace,
        "trigger": {"cron_schedule": {"cron": schedule.cron}},
        "max_concurrency": str(schedule.max_concurrency),
        "no_catchup": not schedule.catch_up,
        "mode": "ENABLE" if schedule.enabled else "DISABLE",
        "service_account": schedule.service_account,
        **what_runs(version, schedule.parameters),
    }
