"""Why a run failed, in one line: a back end keeps that in the log of the pod alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pocketkube.errors import UserError
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.progress import FailedPod, Workflow, failed_pods

# As glog begins a line: severity, date, time, process, place.
_GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^ \]]+\] ?(.*)")
_EXIT = re.compile(r"failed to execute component: exit status \d+")
_LONGEST = 500


@dataclass(frozen=True)
class Cause:
    """Why a run failed.

    Attributes:
        task: What the task that failed is called; empty where none did.
        sentence: Why.
        is_users: Whether the request was wrong, and not a machine or a program.
    """

    task: str
    sentence: str
    is_users: bool = False

    def __str__(self) -> str:
        return f"{self.task}: {self.sentence}" if self.task else self.sentence


def cause_of(backend: Backend, run_id: str, workflow: Workflow, titles: Mapping[str, str]) -> Cause:
    """Finds out why a run failed.

    Args:
        backend: The back end.
        run_id: The run.
        workflow: Its workflow.
        titles: What tasks are called for people, by their names.
    """
    pods = failed_pods(workflow)
    if not pods:
        return Cause("", workflow.message or "the back end says nothing of why")
    first = pods[0]
    title = titles.get(first.task, first.task)
    if "OOMKilled" in first.said:
        return Cause(
            title,
            f"was killed for memory (OOMKilled); give it more by cluster.tasks: "
            f"{{{first.task.replace('-', '_')}: {{memory: …}}}}",
        )
    text = _log(backend, run_id, workflow, first)
    found = cause_in_log(text)
    if found is not None:
        return Cause(title, *found)
    said = first.said or "ended without a word"
    where = f"kubectl -n {workflow.namespace} describe pod {first.pod}"
    return Cause(title, f"{said}; its log tells no more ({where})")


def cause_in_log(text: str) -> tuple[str, bool] | None:
    """The line of a pod's log that tells why it failed.

    Args:
        text: The log: what the component printed, between KFP's own lines.

    Returns:
        The line, and whether it is a user's mistake; None where nothing tells.
    """
    plain, fatal = [], ""
    for line in text.splitlines():
        glog = _GLOG.fullmatch(line)
        if glog is None:
            plain.append(line.strip())
        elif glog[1] == "F" and not _EXIT.fullmatch(glog[2]):
            fatal = glog[2].strip()
    for line in reversed(plain):
        if line.startswith(UserError.PREFIX):
            return line.removeprefix(UserError.PREFIX)[:_LONGEST], True
    # KFP's own words are of its own failures; else a traceback's last line says most.
    last = next((line for line in reversed(plain) if line and line not in "{}"), "")
    told = fatal or last
    return (told[:_LONGEST], False) if told else None


def _log(backend: Backend, run_id: str, workflow: Workflow, failed: FailedPod) -> str:
    """A pod's log: from KFP's API, or from the server of its pages."""
    pages = {"podname": failed.pod, "runid": run_id, "podnamespace": workflow.namespace}
    for path, query in (
        (f"/apis/v1alpha1/runs/{run_id}/nodes/{failed.pod}/log", {}),
        ("/k8s/pod/logs", pages),
    ):
        try:
            text = backend.text("the log", path, query)
        except UserError:
            continue
        if not _is_refusal(text):
            return text
    return ""


def _is_refusal(text: str) -> bool:
    """Whether what came is an error, or a page: both come as a success."""
    if text.lstrip()[:1] == "<":
        return True
    try:
        document = json.loads(text)
    except ValueError:
        return False
    return isinstance(document, dict) and bool({"error_message", "error"} & set(document))
