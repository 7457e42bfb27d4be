"""The pod that this process runs in: its image, and what owns it."""

import os
from dataclasses import dataclass

from pocketkube.kube.objects import POD, get, name_of
from pocketkube.kube.pod_parts import Owner
from pocketkube.kube.session import Session, is_pod
from pocketkube.kube.transport import Document

# KFP's back end sets it in a task's container; a component that runs on one machine has none.
TASK_POD = "KFP_POD_NAME"
# A pod's host name is its own.
_NAMES = (TASK_POD, "HOSTNAME")
# As Argo calls the container that a task's code runs in.
_MAIN = "main"


@dataclass(frozen=True)
class OwnPod:
    """A pod.

    Attributes:
        image: Of the container that this process runs in.
        owner: What jobs that the pod starts are to go with. It is what controls the pod, as a Workflow
            does: a pod that comes in this one's place finds the job again, and a run that is deleted
            takes it along. A pod that nothing controls owns its jobs itself.
    """

    image: str
    owner: Owner


def own_pod(session: Session) -> OwnPod | None:
    """The pod of this process; None where it runs in none of the session's namespace.

    Raises:
        Refused: If the account may not look at pods.
        ApiServerAway: If the API server stays away.
    """
    if not is_pod():
        return None
    name = next((os.environ[name] for name in _NAMES if os.environ.get(name)), "")
    pod = get(session, POD, name) if name else None
    return OwnPod(_image(pod), _owner(pod)) if pod else None


def _image(pod: Document) -> str:
    images = {each["name"]: each["image"] for each in pod["spec"]["containers"]}
    return images.get(_MAIN) or next(iter(images.values()))


def _owner(pod: Document) -> Owner:
    for each in pod["metadata"].get("ownerReferences", ()):
        if each.get("controller"):
            return Owner(each["apiVersion"], each["kind"], each["name"], each["uid"])
    return Owner("v1", "Pod", name_of(pod), pod["metadata"]["uid"])
