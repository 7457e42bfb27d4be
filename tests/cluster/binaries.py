"""The cluster's programs that no Debian package has: built from the Go module proxy, once a machine.

tools/ has a go.mod and a go.sum for each project, which pin every source. The cache's folders are named
by them and by Go's version, so that nothing is ever built from anything else.
"""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.cluster.missing import Missing, refuse_without
from tests.cluster.progress import say

TOOLS = Path(__file__).parent / "tools"
KUBERNETES = "v1.34.4"
# As the files of tools/ say.
GO = (1, 25)
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").resolve() / "pocketkube/cluster"
)
# This machine's own architecture, in Go's words.
HOST = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_VERSION = "k8s.io/component-base/version"
_LINKED = {
    "kubernetes": f"-X {_VERSION}.gitVersion={KUBERNETES} "
    f"-X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=34"
}
_PACKAGES = {
    **{
        name: ("kubernetes", f"k8s.io/kubernetes/cmd/{name}")
        for name in (
            "kube-apiserver",
            "kube-controller-manager",
            "kube-scheduler",
            "kubelet",
            "kube-proxy",
            "kubectl",
        )
    },
    "coredns": ("coredns", "github.com/coredns/coredns"),
    "mpi-operator": ("mpi-operator", "github.com/kubeflow/mpi-operator/cmd/mpi-operator"),
    "versitygw": ("versitygw", "github.com/versity/versitygw/cmd/versitygw"),
    "pause": ("pause", "."),
}


def binary(name: str, arch: str = HOST) -> Path:
    """A program, built where this machine has not built it before.

    Args:
        name: The program.
        arch: What it runs on, in Go's words.

    Raises:
        Missing: If Go is not there, or the sources cannot be had.
    """
    refuse_without("go")
    module, package = _PACKAGES[name]
    path = _folder(module, arch) / name
    if not path.is_file():
        _build(module, package, arch, path)
    return path


def built(name: str) -> Path | None:
    """A program for this machine that was built before; None where it was not, or Go is missing."""
    try:
        refuse_without("go")
        path = _folder(_PACKAGES[name][0], HOST) / name
    except Missing:
        return None
    return path if path.is_file() else None


def module_file(module: str, path: str, inside: str) -> Path:
    """A file that a Go module has beside its code.

    Args:
        module: The folder in tools/.
        path: The Go module's path.
        inside: The file's place in it.
    """
    refuse_without("go")
    _go(module, "mod", "download", path)
    return Path(_go(module, "list", "-m", "-f", "{{.Dir}}", path).strip()) / inside


def _folder(module: str, arch: str) -> Path:
    digest = hashlib.sha256(_go_version(module).encode())
    for file in sorted(p for p in (TOOLS / module).iterdir() if p.is_file()):
        digest.update(file.read_bytes())
    return CACHE / f"{module}-{digest.hexdigest()[:16]}-{arch}"


def _go_version(module: str) -> str:
    """Go's version, once it has fetched a newer one of itself where it may."""
    found = _go(module, "env", "GOVERSION").strip()
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < GO:
        raise Missing(f"Go {GO[0]}.{GO[1]} or newer is missing: {found} is installed")
    return found


def _build(module: str, package: str, arch: str, path: Path) -> None:
    began = time.monotonic()
    say(f"building {path.name} for {arch}, once for this machine")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as aside:
        built = Path(aside) / path.name
        flags = f"-s -w {_LINKED.get(module, '')}"
        _go(module, "build", "-trimpath", "-ldflags", flags, "-o", str(built), package, arch=arch)
        shutil.move(built, path)
    say(f"built {path.name} for {arch} in {time.monotonic() - began:.0f} s")


def _go(module: str, *arguments: str, arch: str = HOST) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOARCH": arch, "GOWORK": "off"}
    done = subprocess.run(
        ["go", *arguments],
        cwd=TOOLS / module,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise Missing(f"go {arguments[0]} in tests/cluster/tools/{module} failed: {last[0]}")
    return done.stdout
