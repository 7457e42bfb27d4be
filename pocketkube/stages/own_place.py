"""The name and the place on the object store that a task's call has for itself."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from pocketkube.spec.sections import USUAL_WORK, ObjectStore
from pocketkube.stages.cache import fingerprint
from pocketkube.stages.call import StageCall
from pocketkube.storage import S3Address, S3Location, add_folder, parse_uri

# What a task's namespace says of the place, where a spec names none.
WORK = "POCKETKUBE_WORK"


@dataclass(frozen=True)
class OwnPlace:
    """Where a task and its job hand each other folders.

    Attributes:
        name: The job's name, a DNS label.
        address: The place.
    """

    name: str
    address: S3Address

    def inputs(self, call: StageCall) -> dict[str, str]:
        """Where the job finds each input of the call."""
        return {role: f"{self.address}/inputs/{role}" for role in call.inputs}


def work_of(store: ObjectStore) -> str:
    """Where tasks keep checkpoints and hand each other folders, as the section or the namespace says.

    Args:
        store: The section.
    """
    return (store.work or os.environ.get(WORK) or USUAL_WORK).rstrip("/")


def own_place(call: StageCall, store: ObjectStore, task: str = "") -> OwnPlace:
    """The place of a call, the same for a task that begins again in another pod.

    The name follows from what the output follows from, and from the task: the path of a KFP task's
    output has its run's and its own name in it, and is the same when its pod is replaced.

    Args:
        call: The call, its places folders on this machine.
        store: The section `cluster.object_store`.
        task: The path of the task's output, where the call's is another one.
    """
    told = f"{fingerprint(call)} {task or call.output}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    name = f"{call.stage.replace('_', '-')}-{digest}"
    return OwnPlace(name, parse_uri(f"{work_of(store)}/{name}"))


def send_inputs(call: StageCall, place: OwnPlace) -> None:
    """Brings a call's inputs to its place, where they are not there already.

    Raises:
        UserError: If the object store is away or refuses.
    """
    for role, there in place.inputs(call).items():
        add_folder(Path(call.inputs[role]), S3Location(parse_uri(there)))
