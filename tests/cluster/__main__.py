"""`python -m tests.cluster`: up, down, images into the nodes, and the tests."""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

import pytest

from pocketkube import __version__
from tests.cluster import cluster
from tests.cluster.binaries import HOST
from tests.cluster.images import load_images
from tests.cluster.missing import Missing, refuse_unless_root, refuse_where_no_cluster_can_run
from tests.cluster.progress import Stuck, say

ROOT = Path(__file__).parents[2]
RUNTIME, BENCHMARK = f"pocketkube:{__version__}", f"pocketkube-benchmark:{__version__}"
# Of the nodes of the tests' own cluster.
ARCHES = sorted({HOST, "arm64"})


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring this checkout's cluster up")
    up.add_argument("--arm", action="store_true", help="with a node of arm64")
    commands.add_parser("down", help="take it down, and what is left of it")
    load = commands.add_parser(
        "load", help="put images into its nodes, or into those of a kind cluster"
    )
    load.add_argument(
        "images", nargs="*", help="names in buildah's or docker's store (default: ours for the nodes)"
    )
    load.add_argument("--kind", metavar="NAME", help="a cluster of kind's instead")
    commands.add_parser(
        "test", help="run the tests on the cluster of KUBECONFIG, or on one of their own"
    )
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(_run(options))
    except (Missing, Stuck, OSError, subprocess.CalledProcessError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
        sys.exit(f"cluster: {error}{f': {said.decode().strip()}' if said else ''}")
    except KeyboardInterrupt:
        print("cluster: interrupted", file=sys.stderr)
        sys.exit(130)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    if options.command == "test":
        return _test()
    if options.command == "load":
        _load(options.images, options.kind)
        return 0
    if options.command == "up":
        refuse_where_no_cluster_can_run()
        with cluster.alone():
            cluster.up(arm=options.arm)
        say("this sets KUBECONFIG, the S3 server and its keys in a shell:")
        print(f". {shlex.quote(str(cluster.ENVIRONMENT))}")
        return 0
    refuse_unless_root()
    with cluster.alone():
        cluster.down()
    return 0


def _load(images: Sequence[str], kind: str | None) -> None:
    if kind is None:
        refuse_unless_root()
        if not cluster.nodes():
            raise Missing("there is no cluster of this checkout: run make cluster")
    # kind's nodes are containers, and so of this machine's architecture.
    archs = [HOST] if kind else [node.arch for node in cluster.nodes()]
    ours = (RUNTIME, *(f"{BENCHMARK}-{arch}" for arch in archs))
    load_images(images or ours, kind)


def _test() -> int:
    """Runs the tests on KUBECONFIG's cluster, on this checkout's, or on one that is up for as long."""
    if os.environ.get("KUBECONFIG"):
        return _pytest()
    refuse_where_no_cluster_can_run()
    with cluster.alone():
        if cluster.nodes():
            _build_images()
            say("the tests run on the cluster that is up, and leave it up")
            return _load_and_test()
        # Images wait for the network and the disk, where Go has the processor.
        with ThreadPoolExecutor() as beside:
            programs = beside.submit(cluster.build_programs, arm=True)
            _build_images()
            programs.result()
        cluster.up(arm=True)
        failed = 1
        try:
            failed = _load_and_test()
        finally:
            if failed:
                cluster.stop()
            else:
                cluster.down()
        return failed


def _build_images() -> None:
    told = {**os.environ, "ARCHES": " ".join(ARCHES)}
    if subprocess.run([ROOT / "images/build.sh"], env=told).returncode:
        raise Missing("the images could not be built")


def _load_and_test() -> int:
    load_images((RUNTIME, *(f"{BENCHMARK}-{arch}" for arch in ARCHES)), kind=None)
    os.environ["KUBECONFIG"] = str(cluster.KUBECONFIG)
    return _pytest()


def _pytest() -> int:
    # In this process: when interrupted, it removes what its tests have on the cluster.
    return pytest.main([f"--rootdir={ROOT}", str(ROOT / "tests/cluster")])


if __name__ == "__main__":
    main()
