"""Why a job of several pods ended, or never began, from what Kubernetes and its log say."""

from collections.abc import Sequence
from dataclasses import dataclass

from pocketkube.kube.pods import Ending, Stuck
from pocketkube.launch.outcome import Cause, Outcome, outcome_of_process
from pocketkube.launch.ssh_hosts import STARVED


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


@dataclass(frozen=True)
class JobEnding:
    """What is known of a job that failed.

    Attributes:
        condition: Reason and message of its condition Failed.
        exit_code: The launcher's container's; None if it has none.
        launcher: How the launcher's pod ended; None if it has not, or there was none.
        lost: How workers ended while the launcher ran.
        pods: How any of its pods ended.
        lines: The end of the launcher's log.
        memory: What a worker may have; None where there is no limit.
    """

    condition: tuple[str, str]
    exit_code: int | None
    launcher: Ending | None
    lost: Sequence[Ending]
    pods: Sequence[Ending]
    lines: Sequence[str]
    memory: str | None


def outcome_of_job(ended: JobEnding) -> Outcome:
    """Why a job failed."""
    reason, said = ended.condition
    if "DeadlineExceeded" in reason:
        return Outcome(1, Cause.TIME_OUT, "It took longer than cluster.workers.deadline_minutes.")
    starved = {line.partition(STARVED)[2].strip() for line in ended.lines if line.startswith(STARVED)}
    told = outcome_of_process(ended.exit_code or 1, ended.lines, oom_killed=bool(starved))
    if told.cause in (Cause.USER_ERROR, Cause.BAD_DATA):
        return told
    launcher = ended.launcher
    if launcher and launcher.reason == "OOMKilled":
        more = (
            "it only starts the workers: let each of them have more processes (cluster.workers.slots)"
        )
        return Outcome(137, Cause.OUT_OF_MEMORY, f"{sentence(launcher)[:-1]}; {more}.")
    starved |= {ending.pod for ending in ended.pods if ending.reason == "OOMKilled"}
    if starved:
        what = f"Memory ran out in {' and '.join(sorted(starved))}"
        limit = f"which may have {ended.memory}" if ended.memory else "on its node"
        return Outcome(137, Cause.OUT_OF_MEMORY, f"{what}, {limit}: raise cluster.workers.memory.")
    # Ended as a whole: deleted, evicted, or its node lost.
    if launcher and not launcher.container:
        return Outcome(1, Cause.NODE_LOST, sentence(launcher))
    if ended.lost:
        return Outcome(1, Cause.NODE_LOST, sentence(ended.lost[0]))
    if ended.exit_code is None:
        return Outcome(1, Cause.FAULT, f"It failed ({reason}): {said}")
    return told


def sentence(what: Stuck | Ending) -> str:
    """What Kubernetes says, as a sentence."""
    text = " ".join(str(what).split()).rstrip(". ")
    return f"{text[0].upper()}{text[1:]}."
