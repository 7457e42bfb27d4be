"""Puts images that a builder made into the nodes of a cluster, without a registry."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.cluster import Node, nodes
from tests.cluster.missing import Missing
from tests.cluster.nodes import SOCKET
from tests.cluster.progress import say

_LOADED = "images.json"


@dataclass(frozen=True)
class Image:
    """An image in a builder's store.

    Attributes:
        name: As pods name it.
        builder: "buildah" or "docker".
        digest: Changes when the image does.
        arch: What it runs on, in Go's words.
    """

    name: str
    builder: str
    digest: str
    arch: str


def load_images(names: Sequence[str], kind: str | None) -> None:
    """Puts images into every node that can run them, where they are not there already.

    Args:
        names: The images, as the builder's store has them.
        kind: Name of the kind cluster; None for this checkout's own.

    Raises:
        Missing: If an image, or the cluster, is not there.
    """
    found = [_find(name) for name in names]
    places = nodes()
    if kind is None and not places:
        raise Missing("a cluster of this checkout (make cluster); for kind's, say --kind NAME")
    for image in found:
        if kind is not None:
            _load_kind(image, kind)
        for node in places if kind is None else []:
            if node.arch == image.arch:
                _load(image, node)


def _find(name: str) -> Image:
    for builder, asked in (
        ("buildah", ("inspect", "--type=image", "--format={{.FromImageID}} {{.OCIv1.Architecture}}")),
        ("docker", ("image", "inspect", "--format={{.Id}} {{.Architecture}}")),
    ):
        if shutil.which(builder):
            done = subprocess.run([builder, *asked, name], capture_output=True, text=True)
            if done.returncode == 0:
                digest, arch = done.stdout.split()
                return Image(name, builder, digest, arch)
    raise Missing(f"the image {name} in buildah's or docker's store (make images)")


def _load(image: Image, node: Node) -> None:
    record = node.machine.folder / _LOADED
    loaded = json.loads(record.read_text()) if record.is_file() else {}
    if loaded.get(image.name) == image.digest:
        say(f"{node.machine.name} has {image.name}")
        return
    say(f"loading {image.name} into {node.machine.name}")
    with tempfile.TemporaryDirectory(dir=node.machine.folder) as folder:
        archive = _save(image, Path(folder))
        command = ("ctr", "-a", SOCKET, "-n", "k8s.io", "images", "import")
        node.machine.run(*command, f"--platform=linux/{image.arch}", archive)
    record.write_text(json.dumps({**loaded, image.name: image.digest}, indent=1))
    say(f"loaded {image.name} into {node.machine.name}")


def _load_kind(image: Image, cluster: str) -> None:
    if shutil.which("kind") is None:
        raise Missing("kind on PATH")
    with tempfile.TemporaryDirectory() as folder:
        archive = _save(image, Path(folder))
        subprocess.run(["kind", "load", "image-archive", archive, "--name", cluster], check=True)


def _save(image: Image, folder: Path) -> Path:
    archive = folder / "image.tar"
    command = (
        # Names without a registry are docker.io's to containerd and kubelet, as to docker.
        [
            "buildah",
            "push",
            "--quiet",
            image.name,
            f"docker-archive:{archive}:docker.io/library/{image.name}",
        ]
        if image.builder == "buildah"
        else ["docker", "save", "--output", str(archive), image.name]
    )
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{image.name} could not be saved: {done.stderr.strip()}")
    return archive
