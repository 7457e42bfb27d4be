"""Why a job of several pods ended, or never began, from what Kubernetes and its log say."""

from collections.abc import Sequence

from pocketkube.kube.pods import Ending, Stuck, why_ended
from pocketkube.kube.transport import Document
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_process
from pocketkube.launch.ranks import STARVED

_RAISE_MEMORY = "give cluster.workers.memory more"


def cause_of_waiting(stuck: Stuck) -> Cause:
    """What kind of reason keeps pods from starting."""
    said = stuck.said.lower()
    if "image" in stuck.reason.lower() or ("image" in said and "pull" in said):
        return Cause.NO_IMAGE
    if stuck.reason in ("Unschedulable", "FailedScheduling"):
        return Cause.NO_NODE
    if "exceeded quota" in said or "failed quota" in said:
        return Cause.NO_QUOTA
    return Cause.NOT_STARTED


def outcome_of_job(
    job: Document,
    launcher: Document | None,
    lost: Sequence[Ending],
    endings: Sequence[Ending],
    lines: Sequence[str],
) -> Outcome:
    """Why a job failed.

    Args:
        job: The MPIJob or TrainJob, failed.
        launcher: Its launcher's pod as it was last seen; None if there was none.
        lost: How workers ended while the launcher ran.
        endings: How any of its pods ended.
        lines: The end of the launcher's log.
    """
    reason, said = _failure(job)
    if "DeadlineExceeded" in reason:
        return Outcome(1, Cause.TIME_OUT, "It took longer than cluster.workers.deadline_minutes.")
    code = _exit_code(launcher)
    starved = [line.partition(STARVED)[2].strip() for line in lines if line.startswith(STARVED)]
    told = outcome_of_process(code or 1, lines, oom_killed=bool(starved))
    if told.cause in (Cause.USER_ERROR, Cause.BAD_DATA):
        return told
    for ending in endings:
        if ending.reason == "OOMKilled":
            return Outcome(137, Cause.OUT_OF_MEMORY, f"Memory ran out: {ending}; {_RAISE_MEMORY}.")
    if starved:
        where = f"Memory ran out in pod {' and '.join(sorted(set(starved)))}"
        return Outcome(137, Cause.OUT_OF_MEMORY, f"{where}: {_RAISE_MEMORY}.")
    end_of_launcher = why_ended(launcher) if launcher else None
    # Ended as a whole: deleted, evicted, or its node lost.
    if end_of_launcher and not end_of_launcher.container:
        return Outcome(1, Cause.NODE_LOST, f"{_sentence(end_of_launcher)}.")
    if lost:
        return Outcome(1, Cause.NODE_LOST, f"{_sentence(lost[0])}.")
    if code is None:
        return Outcome(1, Cause.FAULT, f"It failed ({reason}): {said}")
    return told


def _failure(job: Document) -> tuple[str, str]:
    for condition in job.get("status", {}).get("conditions", ()):
        if condition["type"] == "Failed" and condition["status"] == "True":
            return condition.get("reason", ""), condition.get("message", "")
    return "", ""


def _exit_code(pod: Document | None) -> int | None:
    for container in (pod or {}).get("status", {}).get("containerStatuses", ()):
        if ended := container.get("state", {}).get("terminated"):
            return int(ended["exitCode"])
    return None


def _sentence(ending: Ending) -> str:
    text = str(ending)
    return text[0].upper() + text[1:]
