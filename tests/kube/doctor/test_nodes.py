"""Whether a pod has a node, by the rules of Kubernetes's scheduler."""

from typing import Any

import pytest

from pocketkube.kube.doctor.finding import Level
from pocketkube.kube.doctor.nodes import Taint, arm_nodes, is_tolerated, node_of, place_for, sound_nodes
from pocketkube.spec.sections.cluster import BenchmarkPods, TaskPods, Toleration

TAINT = {"key": "pool", "value": "arm", "effect": "NoSchedule"}
CLOUDS_TAINT = {"key": "kubernetes.io/arch", "value": "arm64", "effect": "NoSchedule"}
TOLERATED = Toleration(key="pool", value="arm", effect="NoSchedule")


def node(name: str = "a", arch: str = "amd64", ready: str = "True", **changes: Any) -> Any:
    return node_of(
        {
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/arch": arch, **changes.get("labels", {})},
            },
            "spec": {
                "taints": changes.get("taints", []),
                "unschedulable": changes.get("unschedulable", False),
            },
            "status": {
                "conditions": [{"type": "Ready", "status": ready}],
                "allocatable": {"cpu": "4", "memory": "8Gi"},
            },
        }
    )


def test_a_pod_that_asks_for_nothing_runs_on_any_node_without_taints() -> None:
    found = place_for(
        "cluster.task", TaskPods(), [node("a"), node("b", taints=[TAINT]), node("c", ready="False")]
    )
    assert (found.level, found.sentence) == (Level.RIGHT, "can run on a")


@pytest.mark.parametrize(
    ("pods", "nodes", "sentence", "remedy"),
    [
        (
            BenchmarkPods(arch="arm64", node_selector={"pool": "phones"}),
            [node("x"), node("y", "arm64")],
            "no node has the labels kubernetes.io/arch=arm64 pool=phones",
            "kubectl label node y pool=phones",
        ),
        (
            BenchmarkPods(arch="arm64"),
            [node("x")],
            "no node has the labels kubernetes.io/arch=arm64",
            "add a node of arm64",
        ),
        (
            BenchmarkPods(arch="arm64"),
            [node("y", "arm64", taints=[TAINT])],
            "the taint pool=arm:NoSchedule of y is not tolerated",
            "tolerations: [{key: pool, value: arm, effect: NoSchedule}]",
        ),
        (TaskPods(), [node("y", unschedulable=True)], "y takes no pods now", "kubectl uncordon y"),
        (
            TaskPods(cpu="4500m"),
            [node("y")],
            "no node is large enough: cpu 4500m is asked for, y has 4",
            "ask for less in the spec's cluster.task",
        ),
        (
            TaskPods(memory="9Gi"),
            [node("y")],
            "no node is large enough: memory 9Gi is asked for, y has 8Gi",
            "ask for less in the spec's cluster.task",
        ),
        (
            TaskPods(gpus=1),
            [node("y")],
            "no node is large enough: nvidia.com/gpu 1 is asked for, y has none",
            "ask for less in the spec's cluster.task",
        ),
    ],
)
def test_no_place(pods: Any, nodes: Any, sentence: str, remedy: str) -> None:
    found = place_for("cluster.task", pods, nodes)
    assert (found.level, found.sentence) == (Level.WRONG, sentence)
    assert remedy in found.remedy


def test_a_tolerated_taint_keeps_nothing_away() -> None:
    pods = BenchmarkPods(arch="arm64", tolerations=(TOLERATED,))
    assert (
        place_for("cluster.benchmark", pods, [node("y", "arm64", taints=[TAINT])]).level is Level.RIGHT
    )


def test_the_taint_of_clouds_arm_nodes_keeps_nothing_away_that_asks_for_arm() -> None:
    pool = [node("y", "arm64", taints=[CLOUDS_TAINT])]
    for found in (
        place_for("cluster.benchmark", BenchmarkPods(arch="arm64"), pool),
        *arm_nodes(pool, BenchmarkPods(arch="arm64")),
    ):
        assert found.level is Level.RIGHT, found
    (found,) = arm_nodes(pool, BenchmarkPods())
    assert found.remedy == "say in the spec: cluster: {benchmark: {arch: arm64}}"
    (found,) = arm_nodes([node("y", "arm64", taints=[CLOUDS_TAINT, TAINT])], BenchmarkPods())
    assert found.remedy.endswith("{key: pool, value: arm, effect: NoSchedule}]}}")
    assert "kubernetes.io/arch" not in found.remedy


def test_a_task_runs_on_the_architecture_of_its_image() -> None:
    nodes = [node("x"), node("y", "arm64")]
    assert place_for("cluster.task", TaskPods(), nodes).sentence == "can run on x"
    own = TaskPods(node_selector={"kubernetes.io/arch": "arm64"})
    assert place_for("cluster.task", own, nodes).sentence == "can run on y"


@pytest.mark.parametrize(
    ("toleration", "is_right"),
    [
        (Toleration(key="pool", value="arm"), True),
        (Toleration(key="pool", operator="Exists"), True),
        (Toleration(operator="Exists"), True),
        (Toleration(key="pool", value="gpu"), False),
        (Toleration(key="other", operator="Exists"), False),
        (Toleration(key="pool", value="arm", effect="NoExecute"), False),
    ],
)
def test_tolerations(toleration: Toleration, is_right: bool) -> None:
    assert is_tolerated(Taint("pool", "arm", "NoSchedule"), (toleration,)) is is_right


def test_nodes_that_do_not_take_part_are_told_with_what_brings_them_back() -> None:
    found = list(sound_nodes([node("a", ready="False"), node("b", unschedulable=True), node("c")]))
    assert [each.remedy for each in found] == ["kubectl describe node a", "kubectl uncordon b", ""]
    assert next(iter(sound_nodes([]))).level is Level.WRONG


def test_an_arm_pool() -> None:
    (found,) = arm_nodes([node("x")], BenchmarkPods())
    assert (found.level, found.subject) == (Level.NOTE, "ARM nodes")
    (found,) = arm_nodes([node("y", "arm64", taints=[TAINT])], BenchmarkPods())
    assert "tolerations: [{key: pool, value: arm, effect: NoSchedule}]" in found.remedy
    (found,) = arm_nodes([node("y", "arm64", taints=[TAINT])], BenchmarkPods(tolerations=(TOLERATED,)))
    assert found.level is Level.RIGHT
