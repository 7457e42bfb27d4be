"""Measures on other nodes than a component's own, where cluster.benchmark asks for such."""

import platform
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from pocketkube.benchmarking.required_node import arch_of
from pocketkube.errors import UserError
from pocketkube.files.whole import replaced_folder, temporary_folder
from pocketkube.kube import Session
from pocketkube.kube.benchmark_job import INDEX
from pocketkube.kube.failures import Refused
from pocketkube.kube.objects import SECRET, get
from pocketkube.launch.node_pool import NodePool
from pocketkube.launch.waiting import wait_for
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import BenchmarkLitertConfig, OnNodesConfig
from pocketkube.stages.measuring import merge_benchmarks
from pocketkube.stages.own_place import own_place, send_inputs, work_of
from pocketkube.storage import (
    S3Location,
    fetch_folder,
    is_named,
    is_whole,
    parse_uri,
    patiently,
    refuse_unwritable,
    remove_if_possible,
)


def asks_for_others(config: OnNodesConfig) -> bool:
    """Whether a stage's nodes may be others than the one that this runs on.

    cluster.task and cluster.tasks place this task; what cluster.benchmark selects, a Job's pod has.
    """
    asked = config.cluster.benchmark
    is_own = asked.arch in ("any", arch_of(platform.machine()))
    return asked.nodes > 1 or not is_own or bool(asked.node_selector)


def refuse_without_store(session: Session, cluster: Cluster) -> None:
    """Refuses what would keep a Job's pods from the object store, as far as it can be seen from here.

    For who has something long to prepare before `measure_on_nodes`.

    Args:
        session: The cluster, and the namespace of the Job.
        cluster: Its section of the spec.

    Raises:
        UserError: If the object store is away or refuses, or its keys' Secret is not there.
    """
    # A place of its own there, as a Job has.
    refuse_unwritable(parse_uri(f"{work_of(cluster.object_store)}/{secrets.token_hex(8)}"))
    name = cluster.object_store.secret
    # Where no keys are named here, none are needed there. Not everybody may look at Secrets.
    with suppress(Refused):
        if is_named() and get(session, SECRET, name) is None:
            raise UserError(
                f"There is no Secret {name} in the namespace {session.namespace}, of which pods have "
                "the S3 server's keys (accesskey, secretkey): make it, or go to another namespace by "
                "kubectl config set-context --current --namespace NAME."
            )


def measure_on_nodes(session: Session, call: StageCall) -> None:
    """Runs a call that measures as a Job on the nodes that its config asks for, and waits for it.

    What it reads and makes travels by `cluster.object_store.work`, and is removed from there. Several
    nodes merge what they measured of files; a latency table is of one node.

    Args:
        session: The cluster.
        call: The call; its places are folders of this machine.

    Raises:
        UserError: If nothing was measured; the text says why.
    """
    assert isinstance(call.config, OnNodesConfig)
    cluster = call.config.cluster
    is_benchmark = isinstance(call.config, BenchmarkLitertConfig)
    merge, nodes = (merge_benchmarks, cluster.benchmark.nodes) if is_benchmark else (_only, 1)
    place = own_place(call, cluster.object_store)
    made = [S3Location(parse_uri(f"{place.address}/outputs/{number}")) for number in range(nodes)]
    try:
        # A task that was ended between its Job's end and its own has nothing left to measure.
        if not all(patiently("look", partial(is_whole, each)) for each in made):
            send_inputs(call, place)
            output = f"{place.address}/outputs/{INDEX}"
            there = replace(call, inputs=place.inputs(call), output=output)
            wait_for(NodePool(session, cluster, place.name, nodes).start(there))
        with temporary_folder() as folder:
            parts = [folder / str(number) for number in range(nodes)]
            for part, location in zip(parts, made, strict=True):
                patiently("fetch", partial(fetch_folder, location.address, part))
            merge(parts, Path(call.output))
    finally:
        remove_if_possible(place.address)


def _only(parts: Sequence[Path], output: Path) -> None:
    (part,) = parts
    with replaced_folder(output) as folder:
        shutil.copytree(part, folder, dirs_exist_ok=True)
