"""Runs a training stage for a task on a cluster: in the task's pod, or shared by a job's workers."""

import hashlib
import sys
from dataclasses import replace
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.launch.mpijob import MpiJob
from pocketkube.launch.waiting import wait_for
from pocketkube.spec.sections import Cluster
from pocketkube.stages.cache import fingerprint
from pocketkube.stages.call import StageCall
from pocketkube.stages.run import forget_checkpoints, run_stage, workers_of
from pocketkube.storage import (
    S3Address,
    S3Location,
    add_folder,
    fetch_folder,
    is_named,
    is_whole,
    parse_uri,
    patiently,
    remove_objects,
)


def run_on_cluster(call: StageCall, cluster: Cluster) -> None:
    """Runs a stage so that it goes on where it was when its task begins again in another pod.

    It has a place of its own below `cluster.object_store.work`, for its checkpoints and for what
    workers take and give, which is empty again when the output stands. The place's name, and the job's,
    follow from what the output follows from, and from the output's path: that has a KFP run's and
    task's in it, and is the same when the task's pod is replaced.

    Args:
        call: The call, its places folders on this machine.
        cluster: Where it runs.

    Raises:
        UserError: If the stage, the launcher or the object store refuses.
    """
    told = f"{fingerprint(call)} {call.output}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    name = f"{call.stage.replace('_', '-')}-{digest}"
    place = parse_uri(f"{cluster.object_store.work}/{name}")
    if _is_a_job(call, cluster):
        _run_as_job(call, cluster, name, place)
    else:
        _run_here(call, place)


def _is_a_job(call: StageCall, cluster: Cluster) -> bool:
    """One process has nothing to share, unless others may come."""
    is_shared = workers_of(call) > 1 or cluster.workers.elastic is not None
    return cluster.launcher != "inline" and call.shared and is_shared


def _run_here(call: StageCall, place: S3Address) -> None:
    if not is_named():
        print("no checkpoints are kept: no object store is named", file=sys.stderr, flush=True)
        run_stage(call)
        return
    kept = replace(call, checkpoints=f"{place}/checkpoints")
    run_stage(kept)
    forget_checkpoints(kept)


def _run_as_job(call: StageCall, cluster: Cluster, name: str, place: S3Address) -> None:
    there = replace(
        call,
        inputs={role: f"{place}/inputs/{role}" for role in call.inputs},
        output=f"{place}/output",
        checkpoints=f"{place}/checkpoints",
    )
    output = parse_uri(there.output)
    # A task that was ended between its job's end and its own has nothing left to train.
    if not patiently("look", lambda: is_whole(S3Location(output))):
        for role, folder in call.inputs.items():
            add_folder(Path(folder), S3Location(parse_uri(there.inputs[role])))
        wait_for(MpiJob(cluster, name, workers_of(call)).start(there))
    patiently("fetch", lambda: fetch_folder(output, Path(call.output)))
    try:
        remove_objects(place)
    except UserError as error:
        print(f"{place} was not removed: {error}", file=sys.stderr, flush=True)
