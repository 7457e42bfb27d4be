"""A node: containerd, kubelet and kube-proxy on a machine."""

import json
from pathlib import Path

from tests.cluster.archives import PAUSE, pause_archive
from tests.cluster.binaries import HOST, binary
from tests.cluster.control_plane import ControlPlane
from tests.cluster.machine import Machine
from tests.cluster.missing import CNI
from tests.cluster.network import DNS_SERVICE, PODS, PODS_ON
from tests.cluster.progress import until

SOCKET = "/run/containerd/containerd.sock"


def start_node(machine: Machine, number: int, arch: str, address: str, plane: ControlPlane) -> None:
    """Starts a node, which registers itself under its machine's name.

    Args:
        machine: Where it runs.
        number: From 1; decides which addresses its pods have.
        arch: What its pods' programs are built for, in Go's words.
        address: The machine's address.
        plane: What it registers with.

    Raises:
        Stuck: If containerd does not come up.
    """
    start_containerd(machine, number)
    archive = pause_archive(machine.folder, arch)
    machine.run(
        "ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import", f"--platform=linux/{arch}", archive
    )
    machine.start(
        binary("kubelet", arch),
        f"--config={_write(machine, 'kubelet.yaml', _kubelet(plane, arch))}",
        f"--kubeconfig={plane.kubeconfig}",
        f"--hostname-override={machine.name}",
        f"--node-ip={address}",
    )
    machine.start(
        binary("kube-proxy"),
        f"--config={_write(machine, 'kube-proxy.yaml', _proxy(plane))}",
        f"--hostname-override={machine.name}",
    )


def start_containerd(machine: Machine, number: int) -> None:
    """Starts what runs the containers, with a network for those of one node."""
    folder = machine.folder / "cni"
    folder.mkdir()
    (folder / "10-pods.conflist").write_text(json.dumps(_pod_network(number), indent=1))
    config = machine.folder / "containerd.toml"
    config.write_text(_containerd(machine.folder / "containerd", folder))
    machine.start("containerd", f"--config={config}")
    until(
        lambda: (Path(f"/proc/{machine.process}/root") / SOCKET.strip("/")).exists(),
        "containerd",
        seconds=30,
        log=machine.log("containerd"),
    )


def _containerd(root: Path, networks: Path) -> str:
    return f"""\
version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI}"
conf_dir = "{networks}"
"""


def _pod_network(number: int) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "pods",
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS_ON.format(number)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(plane: ControlPlane, arch: str) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(plane.authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        # As clouds do: nothing lands on such a node that was not made for it.
        "registerWithTaints": [{"key": "kubernetes.io/arch", "value": arch, "effect": "NoSchedule"}]
        if arch != HOST
        else [],
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        # Pods find nothing outside the cluster.
        "resolvConf": "",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(plane: ControlPlane) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": str(plane.kubeconfig)},
        # These are the whole machine's to set.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _write(machine: Machine, name: str, config: dict[str, object]) -> Path:
    path = machine.folder / name
    path.write_text(json.dumps(config, indent=1))
    return path
