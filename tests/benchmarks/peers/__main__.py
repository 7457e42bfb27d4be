"""PocketKube beside its peers, in one run: `make bench`, or

    python -m tests.benchmarks.peers setup              # the peers' environments, in build/peers
    python -m tests.benchmarks.peers run                # what is missing, then the tables
    python -m tests.benchmarks.peers run --quick        # the same in minutes: whether all works
    python -m tests.benchmarks.peers latency            # of all files, on a machine that is idle
    python -m tests.benchmarks.peers tables             # of what is there

A run that is interrupted goes on where it was. Tables and plots are in the output folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pocketkube.benchmarking import environment
from pocketkube.cli.ending import plain_ending
from pocketkube.errors import MachineError, UserError
from pocketkube.files.whole import write_text
from tests.benchmarks.peers.budget import FULL, QUICK
from tests.benchmarks.peers.cases import SEEDS, Case, cases
from tests.benchmarks.peers.drawing import svg
from tests.benchmarks.peers.environments import PEERS, lock, set_up
from tests.benchmarks.peers.latency import measure
from tests.benchmarks.peers.networks import NETWORKS
from tests.benchmarks.peers.runner import budget_of, measured_of, run_all
from tests.benchmarks.peers.tables import render


def main() -> None:
    """Does what the command line says."""
    options = _options()
    with plain_ending():
        if options.command in ("setup", "lock"):
            for name in options.peers or PEERS:
                print(name, flush=True)
                (set_up if options.command == "setup" else lock)(name)
            return
        chosen = cases(options.networks, options.seeds, only=options.only, targets=options.targets)
        output = options.output or Path("runs/peers-quick" if options.quick else "runs/peers")
        if options.command == "latency":
            measure(chosen, output)
        failed = []
        if options.command == "run":
            budget = QUICK if options.quick else FULL
            failed = run_all(chosen, output, budget, options.jobs, gpu=options.gpu)
        _write_tables(chosen, output)
        if failed:
            raise MachineError(f"{len(failed)} cases failed; the first: {failed[0]}")


def _write_tables(chosen: Sequence[Case], output: Path) -> None:
    """Writes the tables and plots of what is there, and prints the tables."""
    measured = [each for case in chosen if (each := measured_of(case, output)) is not None]
    if not measured:
        raise UserError(f"{output}: nothing of what was asked for has been measured there.")
    keys = [(each.case.network, each.case.method.family) for each in measured]
    for network, family in dict.fromkeys(keys):
        some = [each for each, key in zip(measured, keys, strict=True) if key == (network, family)]
        if drawn := svg(some):
            write_text(output / f"{network}-{family}.svg", drawn)
    command = " ".join(["python -m tests.benchmarks.peers run", *sys.argv[2:]])
    text = render(measured, budget_of(output), command, described_machine())
    write_text(output / "tables.md", text)
    print(text)


def described_machine() -> str:
    """The processor, its cores and the system."""
    here = environment()
    return f"{here.cpu}, {here.cores} cores"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("setup", "lock"):
        each = commands.add_parser(name)
        each.add_argument("peers", nargs="*", metavar="PEER", help=f"some of: {', '.join(PEERS)}")
    for name in ("run", "latency", "tables"):
        each = commands.add_parser(name)
        each.add_argument("-o", "--output", type=Path, help="default: runs/peers, or runs/peers-quick")
        each.add_argument("--quick", action="store_true", help="hundreds of images, tens of steps")
        each.add_argument("--only", nargs="+", default=(), help="parts of names of methods or families")
        each.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
        each.add_argument("--targets", nargs="+", type=float, default=())
        each.add_argument("--networks", nargs="+", choices=NETWORKS, default=("resnet20",))
        each.add_argument("--jobs", type=int, default=1, help="cases at a time, a core each; default 1")
        if name == "run":
            told = "train on the machine's GPU what TensorFlow trains; seconds are not comparable then"
            each.add_argument("--gpu", action="store_true", help=told)
    return parser.parse_args()


if __name__ == "__main__":
    main()
