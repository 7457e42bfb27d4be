"""Whether there are nodes for the pods that a job has, the ARM pool's above all."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pocketkube.kube.doctor.finding import Finding, note, right, wrong
from pocketkube.kube.doctor.needs import Needs
from pocketkube.kube.objects import Kind, find, name_of
from pocketkube.kube.quantity import value_of
from pocketkube.kube.session import Session
from pocketkube.kube.transport import Document
from pocketkube.spec.sections.cluster import ARCH, BenchmarkPods, Pods, Toleration


@dataclass(frozen=True)
class Taint:
    """Keeps pods that do not tolerate it away from a node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}{'=' if self.value else ''}{self.value}:{self.effect}"


@dataclass(frozen=True)
class Node:
    """A node.

    Attributes:
        name: Its name.
        labels: Its labels.
        taints: Those that keep pods away.
        is_ready: Whether it takes part.
        is_cordoned: Whether it takes no new pods.
        room: What its pods may have together, by the resource's name.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    is_ready: bool
    is_cordoned: bool
    room: Mapping[str, str]

    @property
    def arch(self) -> str:
        """Its architecture."""
        return self.labels.get(ARCH, "an unknown architecture")


def check_nodes(session: Session, needs: Needs) -> Iterator[Finding]:
    """Whether the nodes are ready, and each kind of pods has one that takes it."""
    nodes = [node_of(each) for each in find(session, Kind("v1", "Node"))]
    yield from sound_nodes(nodes)
    yield from arm_nodes(nodes, needs.cluster.benchmark)
    for name, pods in needs.pods:
        yield place_for(name, pods, nodes)


def sound_nodes(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Nodes that do not take part, and those that do."""
    for node in nodes:
        if not node.is_ready:
            yield note(
                "nodes", f"{node.name} ({node.arch}) is not ready", f"kubectl describe node {node.name}"
            )
        elif node.is_cordoned:
            yield note(
                "nodes", f"{node.name} ({node.arch}) takes no pods", f"kubectl uncordon {node.name}"
            )
    sound = [node for node in nodes if node.is_ready and not node.is_cordoned]
    if sound:
        yield right("nodes", ", ".join(f"{node.name} ({node.arch})" for node in sound))
    else:
        yield wrong("nodes", "none takes pods", "kubectl get nodes")


def arm_nodes(nodes: Sequence[Node], benchmark: BenchmarkPods) -> Iterator[Finding]:
    """The nodes that are of the architecture of phones."""
    arm = [node for node in nodes if node.arch == "arm64"]
    if not arm:
        yield note(
            "ARM nodes",
            f"there is none ({ARCH}=arm64): latencies are those of other processors",
            "add a node pool of arm64, and name it in the spec's cluster.benchmark",
        )
    measuring = benchmark.model_copy(update={"arch": "arm64"})
    for node in arm:
        taints = _not_tolerated(node, benchmark)
        if taints:
            listed = ", ".join(map(_as_toleration, _not_tolerated(node, measuring)))
            remedy = f"arch: arm64, tolerations: [{listed}]" if listed else "arch: arm64"
            yield note(
                "ARM nodes",
                f"{node.name} has the taint {' and '.join(map(str, taints))}, which the spec does not "
                "tolerate",
                f"say in the spec: cluster: {{benchmark: {{{remedy}}}}}",
            )
        else:
            yield right("ARM nodes", f"{node.name} is there for measuring")


def place_for(name: str, pods: Pods, nodes: Sequence[Node]) -> Finding:
    """Whether one of the nodes takes pods of a kind.

    Args:
        name: The spec's name of the pods' settings.
        pods: The settings.
        nodes: All nodes.
    """
    wanted = pods.selected
    labelled = [node for node in nodes if wanted.items() <= node.labels.items()]
    if not labelled:
        # A node's architecture is what it is.
        own = {key: value for key, value in wanted.items() if key != ARCH}
        example = next(
            (n.name for n in nodes if n.labels.get(ARCH) == wanted.get(ARCH, n.arch)), "NODE"
        )
        return wrong(
            name,
            f"no node has the labels {_labels(wanted)}",
            f"kubectl label node {example} {_labels(own)}" if own else f"add a node of {wanted[ARCH]}",
        )
    open_nodes = [node for node in labelled if not _not_tolerated(node, pods)]
    if not open_nodes:
        taint = _not_tolerated(labelled[0], pods)[0]
        return wrong(
            name,
            f"the taint {taint} of {labelled[0].name} is not tolerated",
            f"say in the spec: {name}.tolerations: [{_as_toleration(taint)}]",
        )
    usable = [n for n in open_nodes if n.is_ready and not n.is_cordoned]
    if not usable:
        return wrong(
            name, f"{open_nodes[0].name} takes no pods now", f"kubectl uncordon {open_nodes[0].name}"
        )
    roomy = [n for n in usable if not _too_small(n, pods)]
    if not roomy:
        lack = _too_small(usable[0], pods)
        return wrong(name, f"no node is large enough: {lack}", f"ask for less in the spec's {name}")
    return right(name, f"can run on {', '.join(node.name for node in roomy)}")


def node_of(document: Document) -> Node:
    """A node, from what the API server says of it."""
    spec, status = document["spec"], document.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    return Node(
        name=name_of(document),
        labels=document["metadata"].get("labels", {}),
        taints=tuple(
            Taint(each["key"], each.get("value", ""), each["effect"])
            for each in spec.get("taints", ())
            # Preferences keep nothing away; and the cordon is told by itself.
            if each["effect"] != "PreferNoSchedule"
            and each["key"] != "node.kubernetes.io/unschedulable"
        ),
        is_ready=conditions.get("Ready") == "True",
        is_cordoned=bool(spec.get("unschedulable", False)),
        room=status.get("allocatable", {}),
    )


def is_tolerated(taint: Taint, tolerations: Sequence[Toleration]) -> bool:
    """Whether a pod with these tolerations may run beside a taint."""
    return any(
        (not each.effect or each.effect == taint.effect)
        and (each.key == taint.key or (not each.key and each.operator == "Exists"))
        and (each.operator == "Exists" or each.value == taint.value)
        for each in tolerations
    )


def _not_tolerated(node: Node, pods: Pods) -> list[Taint]:
    return [taint for taint in node.taints if not is_tolerated(taint, pods.tolerated)]


def _too_small(node: Node, pods: Pods) -> str:
    for resource, amount in pods.resources.items():
        if value_of(amount) > value_of(node.room.get(resource, "0")):
            return (
                f"{resource} {amount} is asked for, {node.name} has {node.room.get(resource, 'none')}"
            )
    return ""


def _labels(labels: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in labels.items())


def _as_toleration(taint: Taint) -> str:
    value = f"value: {taint.value}" if taint.value else "operator: Exists"
    return f"{{key: {taint.key}, {value}, effect: {taint.effect}}}"
