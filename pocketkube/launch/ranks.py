"""What the first pod of an MPIJob runs: mpirun over its workers, or processes that may come and go."""

import argparse
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from pocketkube.launch.elastic.pods import Pods, passed_on
from pocketkube.launch.elastic.run import ElasticRun
from pocketkube.launch.lines import lines_by_rank
from pocketkube.launch.ssh_hosts import say_starved, states_of
from pocketkube.processes.children import started
from pocketkube.processes.interruption import interrupt_at_sigterm

# As mpi-operator and Trainer mount it, with a host's name in each line.
HOSTS = "OMPI_MCA_orte_default_hostfile"
# For mpirun to end its ranks.
_GRACE_S = 20.0
# With the time before it or not.
_METRIC = re.compile(r"([0-9TZ:.+-]+ )?[^\s=]+=[+-]?[0-9][0-9.eE+-]*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the processes to their end.

    With `--elastic` workers may come and go, be it only that a lost one is replaced, and Horovod
    connects them over Gloo: training goes on from its last checkpoint, which all have in memory, with
    those that are there.

    Returns:
        The exit code: mpirun's, which is that of the first rank that failed; else see `ElasticRun`.
    """
    parser = argparse.ArgumentParser(prog="python -m pocketkube.launch.ranks")
    parser.add_argument("--slots", type=int, required=True, help="processes on a host")
    parser.add_argument("--min", type=int, required=True, help="processes to begin with")
    parser.add_argument("--max", type=int, required=True, help="most processes")
    parser.add_argument("--elastic", action="store_true", help="lets processes come and go")
    parser.add_argument(
        "--metrics", type=Path, help="file for what the first rank prints as NAME=NUMBER"
    )
    parser.add_argument("words", nargs="+", help="the words after pocketkube, behind --")
    options = parser.parse_args(arguments)
    interrupt_at_sigterm()
    # All pods have the same image.
    program = [sys.executable, "-m", "pocketkube", *options.words]
    try:
        if not options.elastic:
            return _run_once(options.max, program, options.metrics)
        # Workers reach this pod by its address: it has no name for them.
        own = socket.gethostbyname(socket.gethostname())
        run = ElasticRun(Pods(options.slots, program), options.min, options.max, own)
        try:
            return run.to_the_end()
        finally:
            run.end_all()
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM


def _run_once(processes: int, program: Sequence[str], metrics: Path | None) -> int:
    code = _Mpirun(processes, program, metrics).wait()
    if code:
        say_starved(states_of(_listed_hosts(Path(os.environ[HOSTS]))))
    return code


class _Mpirun:
    """mpirun, and the ranks that it started; it ends them when it is ended."""

    def __init__(self, processes: int, program: Sequence[str], metrics: Path | None) -> None:
        # Open MPI passes its settings by itself.
        passed = [word for name in sorted(passed_on(os.environ)) for word in ("-x", name)]
        command = ["mpirun", "--quiet", "--tag-output", "--bind-to", "none"]
        # Pods often have fewer cores than threads: who waits for the others leaves them the core.
        command += ["--mca", "mpi_yield_when_idle", "1"]
        command += ["-np", str(processes), *passed, *program]
        # In a session of its own, a signal reaches this process first.
        self._process = started(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if metrics else None,
            start_new_session=True,
        )
        self._reader = None
        if metrics:
            # Whoever waits for the file finds it, be it empty.
            metrics.touch()
            self._reader = threading.Thread(target=self._copy, args=(metrics,), daemon=True)
            self._reader.start()

    def wait(self) -> int:
        """Waits for it, and ends it where this process is to end; its exit code as a shell has it."""
        try:
            code = self._process.wait()
        except BaseException:
            self._end()
            raise
        finally:
            # Python may abort where a thread prints while it ends.
            if self._reader:
                self._reader.join(_GRACE_S)
        return code if code >= 0 else 128 - code

    def _copy(self, metrics: Path) -> None:
        """Passes on what mpirun prints, and keeps the first rank's metrics."""
        with metrics.open("a") as file:
            for rank, text in lines_by_rank(self._printed()):
                if rank == "0" and _METRIC.fullmatch(text):
                    print(text, file=file, flush=True)

    def _printed(self) -> Iterator[str]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace")
            print(text, end="", flush=True)
            yield text

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _listed_hosts(hostfile: Path) -> list[str]:
    return [line.split()[0] for line in hostfile.read_text().splitlines() if line.strip()]


if __name__ == "__main__":
    sys.exit(main())
