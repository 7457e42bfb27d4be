"""What a cluster needs and this machine lacks."""

import os
import platform
import shutil
import sys
from pathlib import Path

ELSEWHERE = "; or let KUBECONFIG name a cluster that runs elsewhere"
CNI = Path("/usr/lib/cni")
PACKAGES = {
    "buildah": "buildah",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "etcd": "etcd-server",
    "go": "golang, 1.24 or newer",
    "ip": "iproute2",
    "iptables": "iptables",
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
    names = sorted({PACKAGES[program] for program in programs if shutil.which(program) is None})
    if "containerd" in programs and not (CNI / "bridge").is_file():
        names.append("containernetworking-plugins")
    if names:
        raise Missing(f"not installed: {', '.join(names)} (Debian's names)")


def refuse_where_no_cluster_can_run() -> None:
    """Ends with one line where this machine cannot run a cluster.

    Raises:
        Missing: If it is no Linux, the user is not root, or programs are missing.
    """
    if sys.platform != "linux":
        raise Missing(f"a cluster of our own needs Linux, and this is {platform.system()}{ELSEWHERE}")
    if os.geteuid() != 0:
        raise Missing(f"a cluster of our own is started by root (sudo make cluster){ELSEWHERE}")
    try:
        refuse_without(*(program for program in PACKAGES if program != "buildah"))
    except Missing as error:
        raise Missing(f"{error}{ELSEWHERE}") from None
