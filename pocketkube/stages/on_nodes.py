"""Measures on other nodes than a component's own, where cluster.benchmark asks for such."""

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path

from pocketkube.benchmarking.required_node import arch_of
from pocketkube.files import replaced_folder
from pocketkube.kube import Session
from pocketkube.launch.node_pool import NodePool
from pocketkube.launch.waiting import wait_for
from pocketkube.stages.call import StageCall
from pocketkube.stages.configs import BenchmarkLitertConfig, OnNodesConfig
from pocketkube.stages.measuring import merge_benchmarks


def asks_for_others(config: OnNodesConfig) -> bool:
    """Whether a stage's nodes may be others than the one that this runs on."""
    asked = config.cluster.benchmark
    return bool(
        asked.arch not in ("any", arch_of(platform.machine())) or asked.node_selector or asked.nodes > 1
    )


def measure_on_nodes(session: Session, call: StageCall) -> None:
    """Runs a call that measures as a Job on the nodes that its config asks for, and waits for it.

    Several nodes merge what they measured of files; a latency table is of one node.

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
    wait_for(NodePool(session, cluster, merge, nodes).start(call))


def _only(parts: Sequence[Path], output: Path) -> None:
    (part,) = parts
    with replaced_folder(output) as folder:
        shutil.copytree(part, folder, dirs_exist_ok=True)
