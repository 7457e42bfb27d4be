"""Follows a run to its end, and says how it ended."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_fixed

from pocketkube.kube.kfp.backend import API, OLD_API, Backend
from pocketkube.kube.kfp.cause import Cause, cause_of
from pocketkube.kube.kfp.failures import BackendAway, BackendRefuses
from pocketkube.kube.kfp.progress import State, TaskProgress, Workflow, tasks_of, workflow_of

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
PAUSE_S = 3.0
# As long as a back end's machine may take to come back.
PATIENCE_S = 600.0
# At a run's end, for why it failed.
PATIENCE_OF_THE_OLD_S = 20.0
# A pod that waits so long is worth a line.
WAIT_S = 30.0


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Attributes:
        state: KFP's word: SUCCEEDED, FAILED, CANCELED or SKIPPED.
        cause: Why it failed; None where it did not.
        seconds: How long it took.
    """

    state: str
    cause: Cause | None
    seconds: float

    @property
    def is_success(self) -> bool:
        """Whether all of it was done."""
        return self.state == "SUCCEEDED"


def follow(
    backend: Backend,
    run_id: str,
    titles: Mapping[str, str],
    say: Callable[[str], object],
    pause_s: float = PAUSE_S,
) -> Ending:
    """Waits for a run's end.

    Args:
        backend: The back end.
        run_id: The run.
        titles: What tasks are called for people, by their names.
        say: Takes a line for each task that changes its state.
        pause_s: How long to wait between two looks.

    Raises:
        BackendAway: If the back end stays away; the run goes on.
        UserError: If it refuses.
    """
    shown: dict[str, str] = {}
    while True:
        run = _asked(backend, f"/runs/{run_id}")
        has_ended = run.get("state") in ENDED
        workflow = _workflow(backend, run_id, PATIENCE_OF_THE_OLD_S if has_ended else 0)
        for line in _changes(tasks_of(workflow, datetime.now(UTC)), titles, shown):
            say(line)
        if has_ended:
            state = str(run["state"])
            cause = cause_of(backend, run_id, workflow, titles) if state == "FAILED" else None
            return Ending(state, cause, _seconds(run))
        time.sleep(pause_s)


def _changes(
    tasks: tuple[TaskProgress, ...], titles: Mapping[str, str], shown: dict[str, str]
) -> Iterator[str]:
    """Lines for what has changed since `shown`, which is brought up to date."""
    for task in tasks:
        line = _line(task)
        if line and shown.get(task.key) != line:
            shown[task.key] = line
            yield f"{titles.get(task.name, task.name)}: {line}"


def _line(task: TaskProgress) -> str:
    again = f", attempt {task.attempts}" if task.attempts > 1 else ""
    match task.state:
        case State.RUNNING:
            return f"running{again}"
        case State.CACHED:
            return "cached"
        case State.DONE:
            return f"done in {task.seconds:.0f} s{again}"
        case State.FAILED:
            return f"failed after {task.seconds:.0f} s{again}"
        case State.WAITING if task.said and task.seconds > WAIT_S:
            return f"waits: {task.said}"
    return ""


def _workflow(backend: Backend, run_id: str, seconds: float) -> Workflow:
    """The run's workflow, which only the older API tells whole; an empty one where it does not.

    Not every back end has that API: how the run goes does not wait for it.
    """
    try:
        run = _asked(backend, f"/runs/{run_id}", root=OLD_API, seconds=seconds)
        return workflow_of((run.get("pipeline_runtime") or {}).get("workflow_manifest") or "{}")
    except (BackendAway, BackendRefuses, ValueError):
        return workflow_of("{}")


def _asked(backend: Backend, path: str, root: str = API, seconds: float = PATIENCE_S) -> dict[str, Any]:
    def is_passing(error: BaseException) -> bool:
        # KFP answers 500 while its database is away.
        return isinstance(error, BackendAway) or (
            isinstance(error, BackendRefuses) and error.status >= 500
        )

    patient = Retrying(
        retry=retry_if_exception(is_passing),
        wait=wait_fixed(5),
        stop=stop_after_delay(seconds),
        reraise=True,
    )
    return patient(lambda: backend.ask("the run", "GET", path, root=root))


def _seconds(run: Mapping[str, Any]) -> float:
    try:
        begun, ended = (datetime.fromisoformat(run[key]) for key in ("created_at", "finished_at"))
    except (KeyError, TypeError, ValueError):
        return 0.0
    return (ended - begun).total_seconds()
