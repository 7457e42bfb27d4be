"""Why jobs of several pods end, from what Kubernetes and their logs say."""

import pytest

from pocketkube.errors import DataError, UserError
from pocketkube.kube.pods import Ending, Stuck
from pocketkube.launch.endings import JobEnding, cause_of_waiting, outcome_of_job
from pocketkube.launch.outcome import Cause
from pocketkube.launch.ssh_hosts import STARVED

FAILED = ("BackoffLimitExceeded/", "Job has reached the specified backoff limit: ")
DELETED = Ending("t-worker-1", "", "Deleted", None, "")


def ended(code: int | None = 1, *lines: str, **known) -> JobEnding:
    launcher = Ending("t-launcher-x", "launcher", "Error", code, "") if code else None
    fixed = {"condition": FAILED, "launcher": launcher, "lost": [], "pods": [], "memory": None}
    return JobEnding(exit_code=code, lines=lines, **(fixed | known))


@pytest.mark.parametrize(
    ("ending", "cause", "said"),
    [
        (ended(2, f"{UserError.PREFIX}No such stage."), Cause.USER_ERROR, "No such stage."),
        # A worker that goes with the rest is not the reason.
        (
            ended(DataError.RANK_EXIT_CODE, f"{UserError.PREFIX}No d.npz.", lost=[DELETED]),
            Cause.BAD_DATA,
            "No d.npz.",
        ),
        (
            ended(137, "Killed", f"{STARVED} t-worker-0", memory="1Gi"),
            Cause.OUT_OF_MEMORY,
            "Memory ran out in t-worker-0, which may have 1Gi: raise cluster.workers.memory.",
        ),
        (
            ended(1, pods=[Ending("t-worker-0", "worker", "OOMKilled", 137, "its limit is 1Gi")]),
            Cause.OUT_OF_MEMORY,
            "Memory ran out in t-worker-0, on its node: raise cluster.workers.memory.",
        ),
        (
            ended(
                137, launcher=Ending("t-launcher-x", "launcher", "OOMKilled", 137, "its limit is 512Mi")
            ),
            Cause.OUT_OF_MEMORY,
            "Container launcher of pod t-launcher-x was killed for memory (OOMKilled): its limit is "
            "512Mi; it only starts the workers: let each of them have more processes "
            "(cluster.workers.slots).",
        ),
        (ended(1, lost=[DELETED]), Cause.NODE_LOST, "Pod t-worker-1 was deleted."),
        (
            ended(143, launcher=Ending("t-launcher-x", "", "Evicted", None, "The node was low.")),
            Cause.NODE_LOST,
            "Pod t-launcher-x was ended (Evicted): The node was low.",
        ),
        (
            ended(None, condition=("DeadlineExceeded", "Job was active longer than …")),
            Cause.TIME_OUT,
            "It took longer than cluster.workers.deadline_minutes.",
        ),
        (
            ended(1, "ValueError: x"),
            Cause.FAULT,
            "A process ended with code 1: ValueError: x",
        ),
    ],
)
def test_the_reason_is_what_came_first(ending: JobEnding, cause: Cause, said: str) -> None:
    outcome = outcome_of_job(ending)
    assert (outcome.cause, outcome.reason) == (cause, said)


@pytest.mark.parametrize(
    ("reason", "said", "cause"),
    [
        ("ErrImagePull", "not found", Cause.NO_IMAGE),
        ("Failed", 'Failed to pull image "x"', Cause.NO_IMAGE),
        ("Unschedulable", "0/3 nodes are available", Cause.NO_NODE),
        ("FailedCreate", "pods is forbidden: exceeded quota: q", Cause.NO_QUOTA),
        ("FailedMount", "secret not found", Cause.NOT_STARTED),
    ],
)
def test_what_keeps_a_pod_waiting_has_a_cause(reason: str, said: str, cause: Cause) -> None:
    assert cause_of_waiting(Stuck("pod t", reason, said)) is cause
