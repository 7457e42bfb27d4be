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
from collections.abc import Iterable
from functools import cache
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
    "coredns": ("coredns", "."),
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
    build([name], arch)
    return _folder(_PACKAGES[name][0], arch) / name


def build(names: Iterable[str], arch: str = HOST) -> None:
    """Builds programs, where this machine has not built them before, those of a project at once.

    Args:
        names: The programs.
        arch: What they run on, in Go's words.

    Raises:
        Missing: If Go is not there, or the sources cannot be had.
    """
    refuse_without("go")
    wanted: dict[str, list[str]] = {}
    for name in names:
        module = _PACKAGES[name][0]
        if not (_folder(module, arch) / name).is_file():
            wanted.setdefault(module, []).append(name)
    for module, missing in wanted.items():
        _build(module, missing, arch)


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


@cache
def _go_version(module: str) -> str:
    """Go's version, once it has fetched a newer one of itself where it may."""
    found = _go(module, "env", "GOVERSION").strip()
    if tuple(int(part) for part in re.findall(r"\d+", found)[:2]) < GO:
        raise Missing(f"Go {GO[0]}.{GO[1]} or newer is missing: {found} is installed")
    return found


def _build(module: str, names: list[str], arch: str) -> None:
    began, folder, shown = time.monotonic(), _folder(module, arch), ", ".join(names)
    say(f"building {shown} for {arch}, once for this machine")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as aside:
        flags = f"-s -w {_LINKED.get(module, '')}"
        packages = [_PACKAGES[name][1] for name in names]
        # What -s -w leaves out need not be compiled first: that is a tenth of the time.
        given = ("-trimpath", "-gcflags=all=-dwarf=false", f"-ldflags={flags}")
        # A folder that is there gets a program for each package.
        _go(module, "build", *given, "-o", aside, *packages, arch=arch)
        for name in names:
            shutil.move(Path(aside) / name, folder / name)
    say(f"built {shown} for {arch} in {time.monotonic() - began:.0f} s")


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
