"""Why a pod ended, from its state alone; a cluster's tests see real ones."""

from typing import Any

import pytest

from pocketkube.kube.pods import why_ended

BEFORE, AT, AFTER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"


def ended(code: int, at: str = BEFORE, reason: str | None = None, name: str = "main") -> dict[str, Any]:
    state = {"exitCode": code, "finishedAt": at, "reason": reason or ("Error" if code else "Completed")}
    return {"name": name, "state": {"terminated": state}}


def pod(phase: str, *containers: dict[str, Any], deleted: str = "", **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "p"}
    if deleted:
        # As deletion has it: the time that its grace is over.
        metadata |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": 0}
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": container["name"]} for container in containers]},
        "status": {"phase": phase, "containerStatuses": list(containers), **status},
    }


RUNS = {"name": "main", "state": {"running": {}}}
DISRUPTED = [
    {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "PreemptionByScheduler",
        "message": "preempting to accommodate a higher priority pod",
    }
]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (pod("Pending"), None),
        (pod("Running", RUNS), None),
        (pod("Running", ended(1), RUNS), None),
        (pod("Succeeded", ended(0)), "container main of pod p has completed"),
        (pod("Failed", ended(2)), "container main of pod p ended with exit code 2"),
        (pod("Failed", ended(139)), "container main of pod p was ended by SIGSEGV"),
        # No signal has that number.
        (pod("Failed", ended(255)), "container main of pod p ended with exit code 255"),
        (
            pod("Failed", ended(0), ended(5, name="side")),
            "container side of pod p ended with exit code 5",
        ),
        (
            pod("Failed", ended(128, reason="StartError")),
            "container main of pod p ended with exit code 128 (StartError)",
        ),
        (
            pod("Failed", reason="OutOfcpu", message="Node didn't have enough resource: cpu"),
            "pod p was ended (OutOfcpu): Node didn't have enough resource: cpu",
        ),
        (
            pod("Failed", ended(137), reason="Evicted", message="The node was low on memory."),
            "pod p was ended (Evicted): The node was low on memory.",
        ),
        (
            pod("Running", RUNS, conditions=DISRUPTED, deleted=AT),
            "pod p was ended (PreemptionByScheduler): preempting to accommodate a higher priority pod",
        ),
        (pod("Running", RUNS, deleted=AT), "pod p was deleted"),
        (pod("Failed", ended(0, AFTER), deleted=AT), "pod p was deleted"),
        (pod("Failed", ended(143, BEFORE), deleted=AT), "pod p was deleted"),
        (pod("Failed", ended(137, BEFORE), deleted=AT), "pod p was deleted"),
        (pod("Succeeded", ended(0, BEFORE), deleted=AT), "container main of pod p has completed"),
        (
            pod("Failed", ended(137, BEFORE, "OOMKilled"), deleted=AT),
            "container main of pod p was killed for memory (OOMKilled)",
        ),
        # Its node was lost: what its containers did nobody knows.
        (pod("Failed"), "pod p was ended (Failed)"),
    ],
)
def test_why_it_ended(document: dict[str, Any], said: str | None) -> None:
    ending = why_ended(document)
    assert (str(ending) if ending else None) == said
