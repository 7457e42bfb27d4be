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
_CTR = ("ctr", "-a", SOCKET, "-n", "k8s.io", "images")


@dataclass(frozen=True)
class Image:
    """An image in a builder's store.

    Attributes:
        name: As pods name it.
        builder: "docker" or "buildah".
        digest: That of its configuration: what a node calls it by as well.
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
        OSError: If an image cannot be loaded.
    """
    if kind is not None:
        places = _nodes_of_kind(kind)
        for name in names:
            _load_kind(_find(name), kind, places)
        return
    own = nodes()
    if not own:
        raise Missing(
            "there is no cluster of this checkout (make cluster); for one of kind's, say KIND=NAME"
        )
    for image in [_find(name) for name in names]:
        for node in own:
            if node.arch == image.arch:
                _load(image, node)


def _find(name: str) -> Image:
    # In build.sh's order: what the other has of that name may be an older build.
    for builder, asked in (
        ("docker", ("image", "inspect", "--format={{.Id}} {{.Architecture}}")),
        ("buildah", ("inspect", "--type=image", "--format={{.FromImageID}} {{.OCIv1.Architecture}}")),
    ):
        if shutil.which(builder):
            done = subprocess.run([builder, *asked, name], capture_output=True, text=True)
            if done.returncode == 0:
                digest, arch = done.stdout.split()
                return Image(name, builder, digest.removeprefix("sha256:"), arch)
    raise Missing(f"neither docker nor buildah has an image {name} (make images builds ours)")


def _load(image: Image, node: Node) -> None:
    record = node.machine.folder / _LOADED
    loaded = json.loads(record.read_text()) if record.is_file() else {}
    if loaded.get(image.name) == image.digest:
        say(f"{node.machine.name} has {image.name}")
        return
    say(f"loading {image.name} into {node.machine.name}")
    with tempfile.TemporaryDirectory(dir=node.machine.folder) as folder:
        archive = _save(image, Path(folder))
        node.machine.run(*_CTR, "import", f"--platform=linux/{image.arch}", archive)
    if index := _index_of(image):
        node.machine.run(*_CTR, "tag", "--force", *map(_full, (image.name, index)))
    record.write_text(json.dumps({**loaded, image.name: image.digest}, indent=1))
    say(f"loaded {image.name} into {node.machine.name}")


def _index_of(image: Image) -> str | None:
    """What an image is called together with those of other architectures; None if there are none."""
    index = image.name.removesuffix(f"-{image.arch}")
    return index if index != image.name else None


def _full(name: str) -> str:
    """What a node calls an image that names no registry."""
    return name if "/" in name else f"docker.io/library/{name}"


def _nodes_of_kind(cluster: str) -> list[str]:
    for program in ("kind", "docker"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed, and KIND={cluster} names a cluster of kind's")
    found = _run("kind", "get", "nodes", "--name", cluster).split()
    if not found:
        raise Missing(f"kind has no cluster {cluster} (kind get clusters lists those it has)")
    return found


def _load_kind(image: Image, cluster: str, places: list[str]) -> None:
    without = [place for place in places if _digest_on(place, image.name) != image.digest]
    if not without:
        say(f"all nodes of {cluster} have {image.name}")
        return
    say(f"loading {image.name} into {', '.join(without)}")
    with tempfile.TemporaryDirectory() as folder:
        archive = _save(image, Path(folder))
        chosen = ("--name", cluster, "--nodes", ",".join(without))
        _run("kind", "load", "image-archive", str(archive), *chosen)
    say(f"loaded {image.name} into {', '.join(without)}")


def _digest_on(place: str, name: str) -> str | None:
    done = subprocess.run(
        ["docker", "exec", place, "crictl", "inspecti", name], capture_output=True, text=True
    )
    if done.returncode:
        return None
    found: str = json.loads(done.stdout)["status"]["id"]
    return found.removeprefix("sha256:")


def _save(image: Image, folder: Path) -> Path:
    archive = folder / "image.tar"
    if image.builder == "docker":
        _run("docker", "save", "--output", str(archive), image.name)
    else:
        # Without the name it would be that of buildah's store, where pods do not look.
        _run("buildah", "push", "--quiet", image.name, f"docker-archive:{archive}:{image.name}")
    return archive


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise OSError(f"{' '.join(command[:3])} failed: {last[0]}")
    return done.stdout
