"""`python -m tests.cluster`: up, down, and images into the nodes."""

import argparse
import subprocess
import sys

from tests.cluster import cluster
from tests.cluster.images import load_images
from tests.cluster.missing import Missing
from tests.cluster.progress import Stuck


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="bring this checkout's cluster up")
    up.add_argument("--arm", action="store_true", help="with a node of arm64")
    commands.add_parser("down", help="take it down, and what is left of it")
    load = commands.add_parser("load", help="put images into its nodes, or into those of a kind cluster")
    load.add_argument("images", nargs="+", help="names in buildah's or docker's store")
    load.add_argument("--kind", metavar="NAME", help="a cluster of kind's instead")
    options = parser.parse_args()
    try:
        if options.command == "up":
            cluster.up(arm=options.arm)
            print(f"export KUBECONFIG={cluster.KUBECONFIG}")
        elif options.command == "load":
            load_images(options.images, options.kind)
        else:
            cluster.down()
    except (Missing, Stuck, OSError, subprocess.CalledProcessError) as error:
        said = error.stderr.decode().strip() if isinstance(error, subprocess.CalledProcessError) else ""
        sys.exit(f"cluster: {error}{said and f': {said}'}")


if __name__ == "__main__":
    main()
