"""Why a run failed, in one line: a back end keeps that in the log of the pod alone."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from pocketkube.console.last_words import FAULT, PERHAPS_FAULT
from pocketkube.errors import OutOfMemory, UserError
from pocketkube.kube.kfp.backend import Backend
from pocketkube.kube.kfp.progress import FailedPod, Workflow, failed_pods
from pocketkube.stages.registry import STAGES

# As glog begins a line: severity, date, time, process, place.
_GLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+\s+\d+ [^ \]]+\] ?(.*)")
_EXIT = re.compile(r"failed to execute component: exit status \d+")
# As Argo says what ended a pod: an exit code of its own, or that of a signal.
_OWN_EXIT = re.compile(r"(\w+: )?Error \(exit code \d\d?\)")
_KILLED = re.compile(r"(?:\w+: )?Error \(exit code (1[2-9]\d)\)")
_LONGEST = 500
# Tasks of several steps, each with the step whose pod theirs is.
_MADE_OF = {"retrain_model": "train_model"}
# What lines with our prefix have that tell of no mistake, or of none for sure.
_NOBODYS = (FAULT, PERHAPS_FAULT, OutOfMemory.WORDS, "No space left")


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
            f"was killed for memory (OOMKilled); {_more_memory(first.task)}",
        )
    found = cause_in_log(_log(backend, run_id, workflow, first))
    if found is not None and (found.is_users or _is_by_itself(first)):
        return Cause(title, found.text, found.is_users)
    said = _in_words(first.said)
    if found is not None:
        return Cause(title, f"{said}; it last printed: {found.text}")
    where = f"kubectl -n {workflow.namespace} describe pod {first.pod}"
    return Cause(title, f"{said}; its log tells no more ({where})")


def _more_memory(task: str) -> str:
    """What gives a task more memory; its name is its component's, with a number from the second on."""
    name = re.sub(r"-\d+$", "", task).replace("-", "_")
    stage = _MADE_OF.get(name, name)
    if stage not in STAGES:
        return "no setting gives it more: let the data that it looks at be smaller"
    return f"give it more by cluster.tasks: {{{stage}: {{memory: …}}}}, in a form below settings"


@dataclass(frozen=True)
class Told:
    """What a log tells.

    Attributes:
        text: One line.
        is_users: Whether it is a user's mistake.
    """

    text: str
    is_users: bool


def cause_in_log(text: str) -> Told | None:
    """The line of a pod's log that tells why it failed.

    Args:
        text: The log: what the component printed, between KFP's own lines.

    Returns:
        The line; None where nothing tells.
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
            told = line.removeprefix(UserError.PREFIX)[:_LONGEST]
            return Told(told, is_users=not any(words in line for words in _NOBODYS))
    # KFP's own words are of its own failures; else a traceback's last line says most.
    last = next((line for line in reversed(plain) if line and line not in "{}"), "")
    told = fatal or last
    return Told(told[:_LONGEST], is_users=False) if told else None


def _is_by_itself(failed: FailedPod) -> bool:
    """Whether the program in the pod ended by itself, and its last line tells why."""
    return _OWN_EXIT.fullmatch(failed.said) is not None


def _in_words(said: str) -> str:
    """What Argo says of a pod, in plainer words where there are."""
    if killed := _KILLED.fullmatch(said):
        return f"was ended from outside (exit code {killed[1]})"
    return said or "ended without a word"


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
