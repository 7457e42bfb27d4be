"""What a cluster needs and this machine lacks."""

import os
import platform
import shutil
import sys
from pathlib import Path

CNI = Path("/usr/lib/cni")
_ELSEWHERE = "; or let KUBECONFIG name a cluster that runs elsewhere"
# Debian's packages, but for Go.
_NAMES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ctr": "containerd",
    "etcd": "etcd-server",
    "flock": "util-linux",
    "go": "Go",
    "ip": "iproute2",
    "iptables": "iptables",
    "mount": "mount",
    "nsenter": "util-linux",
    "runc": "runc",
    "unshare": "util-linux",
}


class Missing(Exception):
    """Something a cluster needs is not there: one line says what."""


def refuse_without(*programs: str) -> None:
    """Ends with one line where programs are not to be found.

    Raises:
        Missing: If one is not there.
    """
    names = sorted({_NAMES[program] for program in programs if shutil.which(program) is None})
    if "containerd" in programs and not (CNI / "bridge").is_file():
        names.append("containernetworking-plugins")
    if names:
        raise Missing(f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing")


def refuse_unless_root() -> None:
    """Ends with one line where a cluster of our own can be neither up nor down.

    Raises:
        Missing: If this is no Linux, or the user is not root.
    """
    if sys.platform != "linux":
        raise Missing(f"a cluster of our own needs Linux, and this is {platform.system()}")
    if os.geteuid() != 0:
        raise Missing("a cluster of our own needs root, as sudo gives it")


def refuse_where_no_cluster_can_run() -> None:
    """Ends with one line where this machine cannot run a cluster.

    Raises:
        Missing: If it is no Linux, the user is not root, or programs are missing.
    """
    try:
        refuse_unless_root()
        refuse_without(*(program for program in _NAMES if program != "buildah"))
    except Missing as error:
        raise Missing(f"{error}{_ELSEWHERE}") from None
