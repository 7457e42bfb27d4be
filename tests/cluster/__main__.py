"""`python -m tests.cluster`: up, down, images into the nodes, and the tests."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from pocketkube import __version__
from tests.cluster import cluster
from tests.cluster.binaries import HOST
from tests.cluster.images import load_images
from tests.cluster.missing import Missing, refuse_where_no_cluster_can_run
from tests.cluster.progress import Stuck

ROOT = Path(__file__).parents[2]
RUNTIME, BENCHMARK = f"pocketkube:{__version__}", f"pocketkube-benchmark:{__version__}"


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
    try:
        if options.command == "up":
            cluster.up(arm=options.arm)
            print(f"export KUBECONFIG={cluster.KUBECONFIG}")
        elif options.command == "load":
            # kind's nodes are containers, and so of this machine's architecture.
            archs = [HOST] if options.kind else [node.arch for node in cluster.nodes()]
            ours = (RUNTIME, *(f"{BENCHMARK}-{arch}" for arch in archs))
            load_images(options.images or ours, options.kind)
        elif options.command == "down":
            cluster.down()
        else:
            sys.exit(_test())
    except (Missing, Stuck, OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else ""
        sys.exit(f"cluster: {error}{said and f': {said}'}")


def _test() -> int:
    """Runs the tests; without KUBECONFIG, with images and a cluster of their own."""
    if os.environ.get("KUBECONFIG"):
        return _pytest()
    refuse_where_no_cluster_can_run()
    built = {**os.environ, "ARCHES": "arm64"}
    if subprocess.run([ROOT / "images/build.sh"], env=built).returncode:
        raise Missing("the images, which could not be built")
    try:
        cluster.up(arm=True)
        load_images((RUNTIME, f"{BENCHMARK}-arm64"), kind=None)
        os.environ["KUBECONFIG"] = str(cluster.KUBECONFIG)
        return _pytest()
    finally:
        cluster.down()


def _pytest() -> int:
    return subprocess.run([sys.executable, "-m", "pytest", "tests/cluster"], cwd=ROOT).returncode


if __name__ == "__main__":
    main()
