"""A package submitted: uploaded, and run once or again and again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pocketkube.errors import UserError
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.following import Ending, follow
from pocketkube.kube.kfp.package import Package, checked_arguments
from pocketkube.kube.kfp.runs import Run
from pocketkube.kube.kfp.schedules import Applied, Schedule, apply_schedule
from pocketkube.kube.kfp.versions import Version, upload


class RunFailed(UserError):
    """A run has ended without success, and not by a mistake in what was asked for."""

    EXIT_CODE = 1


@dataclass(frozen=True)
class Uploaded:
    """What was brought to a back end.

    Attributes:
        versions: Of each package, in their order.
        recurring: Of each schedule, in their order.
    """

    versions: tuple[Version, ...]
    recurring: tuple[Applied, ...]


def upload_all(
    backend: Backend, packages: Sequence[Package], schedules: Sequence[Schedule]
) -> Uploaded:
    """Uploads packages, and makes recurring runs as schedules say; done twice, nothing changes.

    Raises:
        UserError: If a schedule does not fit the packages, before anything is uploaded; or if the back
            end is away or refuses, and the same call goes on then.
    """
    refuse_unfit(packages, schedules)
    versions = {package.name: upload(backend, package) for package in packages}
    recurring = [apply_schedule(backend, versions[each.pipeline], each) for each in schedules]
    return Uploaded(tuple(versions.values()), tuple(recurring))


def refuse_unfit(packages: Sequence[Package], schedules: Sequence[Schedule]) -> None:
    """Refuses schedules of pipelines that are not given, or with parameters that these have not.

    Raises:
        UserError: If there is one.
    """
    by_name = {package.name: package for package in packages}
    for schedule in schedules:
        if schedule.pipeline not in by_name:
            raise UserError(
                f"schedule {schedule.name}: no package of the pipeline {schedule.pipeline} is given, "
                f"but of {', '.join(by_name)}."
            )
        try:
            checked_arguments(by_name[schedule.pipeline], schedule.parameters)
        except UserError as error:
            raise UserError(f"schedule {schedule.name}: {error}") from None


def wait_for_run(
    backend: Backend, run: Run, titles: Mapping[str, str], say: Callable[[str], Any]
) -> Ending:
    """Follows a run that has to succeed.

    Args:
        backend: The back end.
        run: The run.
        titles: What tasks are called for people, by their names.
        say: Takes a line for each task that changes its state.

    Raises:
        RunFailed: If it was cancelled, or failed by a machine or a program.
        UserError: If what was asked for is wrong.
        KeyboardInterrupt: If this process is interrupted; the run goes on.
    """
    try:
        ending = follow(backend, run.run_id, titles, say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the run goes on: {run.link}") from None
    if ending.is_success:
        return ending
    if ending.cause is None:
        raise RunFailed(f"the run ended as {ending.state.lower()}: {run.link}")
    if ending.cause.is_users:
        raise UserError(f"{ending.cause} ({run.link})")
    raise RunFailed(f"{ending.cause} ({run.link})")
