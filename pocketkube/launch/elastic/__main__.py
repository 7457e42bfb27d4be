"""Runs a command of pocketkube in several processes of this machine that train together."""

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pocketkube.files.held import held
from pocketkube.launch.elastic.hosts import ThisMachine
from pocketkube.launch.elastic.run import ElasticRun
from pocketkube.processes.interruption import interrupt_at_sigterm

_LOOPBACK = "127.0.0.1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the processes until the first of them has done all.

    Returns:
        The exit code; see `ElasticRun`.
    """
    parser = argparse.ArgumentParser(prog="python -m pocketkube.launch.elastic")
    parser.add_argument("--processes", type=int, required=True, help="how many are wanted")
    parser.add_argument("--lease", type=Path, help="file to hold until all have ended")
    parser.add_argument("--path", required=True, help="where modules are found behind all else")
    parser.add_argument("words", nargs="+", help="the words after pocketkube, behind --")
    options = parser.parse_args(arguments)
    interrupt_at_sigterm()
    worker = ["-P", "-m", "pocketkube.launch.elastic.worker", options.path]
    program = [sys.executable, *worker, *options.words]
    with _leased(options.lease) as descriptors:
        run = ElasticRun(ThisMachine(program, descriptors), 1, options.processes, _LOOPBACK)
        try:
            return run.to_the_end()
        except KeyboardInterrupt:
            return 128 + signal.SIGTERM
        finally:
            run.end_all()


@contextmanager
def _leased(file: Path | None) -> Iterator[tuple[int, ...]]:
    """Descriptors that hold a file in all processes that are given them."""
    if file is None:
        yield ()
        return

    def say(holder: str) -> None:
        print(f"waits for {holder}", file=sys.stderr, flush=True)

    with held(file, say) as own:
        # Forked processes let go of the other one.
        descriptor = os.dup(own)
        try:
            yield (descriptor,)
        finally:
            os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
