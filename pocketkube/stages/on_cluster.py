"""Runs a stage for a task on a cluster: in the task's pod, or shared by the pods of a job."""

import sys
from dataclasses import replace
from pathlib import Path

from pocketkube.launch.mpijob import MpiJob
from pocketkube.launch.waiting import wait_for
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall
from pocketkube.stages.on_katib import search_on_katib
from pocketkube.stages.own_place import OwnPlace, own_place, send_inputs
from pocketkube.stages.run import forget_checkpoints, has_work_to_share, run_stage, workers_of
from pocketkube.storage import (
    S3Address,
    S3Location,
    fetch_folder,
    is_named,
    is_whole,
    parse_uri,
    patiently,
    remove_if_possible,
)

_SEARCH = "search_ratios"


def run_on_cluster(call: StageCall, cluster: Cluster, task: str = "") -> None:
    """Runs a stage so that it goes on where it was when its task begins again in another pod.

    A search whose trials are Katib's has an Experiment of its name; see `search_on_katib`.

    It has a place of its own below `cluster.object_store.work`, for its checkpoints and for what
    workers take and give, which is empty again when the output stands; see `own_place`.

    Args:
        call: The call, its places folders on this machine.
        cluster: Where it runs.
        task: The path of the task's output, where the call's is another one.

    Raises:
        UserError: If the stage, the launcher or the object store refuses.
    """
    if call.stage == _SEARCH and cluster.trials.launcher == "katib":
        search_on_katib(call, cluster)
        return
    place = own_place(call, cluster.object_store, task)
    if _is_a_job(call, cluster):
        _run_as_job(call, cluster, place)
    else:
        _run_here(call, place.address)


def _is_a_job(call: StageCall, cluster: Cluster) -> bool:
    """One process has nothing to share, unless others may come."""
    has_several = workers_of(call) > 1 or cluster.workers.elastic is not None
    return cluster.launcher != "inline" and has_work_to_share(call) and has_several


def _run_here(call: StageCall, place: S3Address) -> None:
    if not is_named():
        print("no checkpoints are kept: no object store is named", file=sys.stderr, flush=True)
        run_stage(call)
        return
    kept = replace(call, checkpoints=f"{place}/checkpoints")
    run_stage(kept)
    forget_checkpoints(kept)


def _run_as_job(call: StageCall, cluster: Cluster, place: OwnPlace) -> None:
    there = replace(
        call,
        inputs=place.inputs(call),
        output=f"{place.address}/output",
        checkpoints=f"{place.address}/checkpoints",
    )
    output = parse_uri(there.output)
    # A task that was ended between its job's end and its own has nothing left to train.
    if not _is_there(output):
        send_inputs(call, place)
        launcher = MpiJob(cluster, place.name, workers_of(call))
        wait_for(launcher.start(there))
        if not _is_there(output):
            # The job of an attempt that has taken the output, and was lost with it.
            launcher.remove()
            wait_for(launcher.start(there))
    patiently("fetch", lambda: fetch_folder(output, Path(call.output)))
    remove_if_possible(place.address)


def _is_there(output: S3Address) -> bool:
    return patiently("look", lambda: is_whole(S3Location(output)))
