"""What the first pod of an MPIJob runs: mpirun over its workers, again where they change and may."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pocketkube.child_processes import started
from pocketkube.errors import DataError, UserError
from pocketkube.launch.lines import lines_by_rank

# As mpi-operator and Trainer mount it, with a host's name in each line.
HOSTS = "OMPI_MCA_orte_default_hostfile"
DISCOVER = Path("/etc/mpi/discover_hosts.sh")
# Said of a host whose kernel has killed a process for want of memory.
STARVED = "memory ran out on"
# A change of workers counts when it has stood for so long: several come or go together.
SETTLED_S = 10.0
_LOOK_S = 2.0
# For mpirun to end its ranks.
_GRACE_S = 20.0
_ASK_S = 15
# With the time before it or not.
_METRIC = re.compile(r"([0-9TZ:.+-]+ )?[^\s=]+=[+-]?[0-9][0-9.eE+-]*")
State = tuple[str, int] | tuple[()]
# The launcher's own, which would mislead a worker; Open MPI passes its settings by itself.
_OWN = ("HOME", "HOSTNAME", "LD_PRELOAD", "OLDPWD", "PATH", "PWD", "SHLVL", "TERM", "_")
_OWN_PREFIXES = ("CUDA_", "K_MPI_", "KUBERNETES_", "NVIDIA_", "OMPI_", "OPAL_", "ORTE_", "PMIX_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the processes to their end.

    With `--min` below `--max` workers may come and go: training goes on from its last checkpoint with
    those that are there.

    Returns:
        The exit code: mpirun's, which is that of the first rank that failed.
    """
    parser = argparse.ArgumentParser(prog="python -m pocketkube.launch.ranks")
    parser.add_argument("--slots", type=int, required=True, help="processes on a host")
    parser.add_argument("--min", type=int, required=True, help="processes to begin with")
    parser.add_argument("--max", type=int, required=True, help="most processes")
    parser.add_argument(
        "--metrics", type=Path, help="file for what the first rank prints as NAME=NUMBER"
    )
    parser.add_argument("words", nargs="+", help="the words after pocketkube, behind --")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # All pods have the same image.
    program = [sys.executable, "-m", "pocketkube", *options.words]
    try:
        if options.min == options.max:
            return _run_once(options.max, program, options.metrics)
        return _run_elastic(options.slots, options.min, options.max, program)
    except KeyboardInterrupt:
        return 128 + signal.SIGTERM


def _run_once(processes: int, program: Sequence[str], metrics: Path | None) -> int:
    run = _Mpirun(processes, program, dict(os.environ), metrics)
    code = run.wait()
    if code:
        _say_starved(_states(_listed_hosts(Path(os.environ[HOSTS]))))
    return code


def _run_elastic(slots: int, least: int, most: int, program: Sequence[str]) -> int:
    while True:
        hosts = _enough_hosts(-(-least // slots))
        began = _states(hosts)
        processes = min(most, slots * len(hosts))
        print(f"workers={processes} hosts={len(hosts)}", file=sys.stderr, flush=True)
        with tempfile.NamedTemporaryFile("w", prefix="hosts-") as file:
            file.write("".join(f"{host} slots={slots}\n" for host in hosts))
            file.flush()
            run = _Mpirun(processes, program, {**os.environ, HOSTS: file.name})
            code = _wait_or_change(run, hosts, slots, most)
        if code == 0 or code in (UserError.EXIT_CODE, DataError.RANK_EXIT_CODE):
            return code
        if code is None:
            print("the workers changed: training goes on with those there are", file=sys.stderr)
            continue
        states = _states(hosts)
        _say_starved(states)
        lost = [host for host in hosts if states[host][:1] != began[host][:1]]
        if not lost:
            return code
        print(f"lost: {' '.join(lost)}; training goes on without", file=sys.stderr, flush=True)


class _Mpirun:
    """mpirun, and the ranks that it started; it ends them when it is ended."""

    def __init__(
        self,
        processes: int,
        program: Sequence[str],
        environment: Mapping[str, str],
        metrics: Path | None = None,
    ) -> None:
        names = sorted(n for n in environment if n not in _OWN and not n.startswith(_OWN_PREFIXES))
        passed = [word for name in names for word in ("-x", name)]
        command = ["mpirun", "--quiet", "--tag-output", "--bind-to", "none"]
        # Pods often have fewer cores than threads: who waits for the others leaves them the core.
        command += ["--mca", "mpi_yield_when_idle", "1"]
        command += ["-np", str(processes), *passed, *program]
        # In a session of its own, a signal reaches this process first.
        self._process = started(
            command,
            env=dict(environment),
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

    def poll(self) -> int | None:
        """Its exit code as a shell has it, or None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, seconds: float | None = None) -> int:
        """Waits for it; ends it where this process is to end."""
        try:
            self._process.wait(seconds)
        except BaseException:
            self.end()
            raise
        if self._reader:
            self._reader.join(_GRACE_S)
        code = self.poll()
        assert code is not None
        return code

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

    def end(self) -> None:
        """Ends it with all its ranks."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _wait_or_change(run: _Mpirun, hosts: Sequence[str], slots: int, most: int) -> int | None:
    """The exit code; None where it was ended because others can take part than do."""
    changed_since: float | None = None
    used = set(hosts)
    try:
        while (code := run.poll()) is None:
            time.sleep(_LOOK_S)
            now = set(_discovered_hosts())
            # One more than there may be is no change.
            come = now - used if slots * len(used) < most else set()
            changed = bool(come) or not used <= now
            changed_since = (changed_since or time.monotonic()) if changed else None
            if changed_since and time.monotonic() - changed_since > SETTLED_S:
                # The script lists a host that was lost for a minute more.
                if not used <= now or any(_states(sorted(come)).values()):
                    run.end()
                    return None
                changed_since = None
        return code
    except BaseException:
        run.end()
        raise


def _enough_hosts(least: int) -> list[str]:
    """The hosts that answer, as soon as there are so many."""
    said = False
    while True:
        found = _discovered_hosts()
        states = _states(found)
        hosts = [host for host in found if states[host]]
        if len(hosts) >= least:
            return hosts
        if not said:
            print(f"waits for {least} hosts; {len(hosts)} answer", file=sys.stderr, flush=True)
            said = True
        time.sleep(_LOOK_S)


def _discovered_hosts() -> list[str]:
    """What mpi-operator's script lists: the workers that run."""
    done = subprocess.run([str(DISCOVER)], capture_output=True, text=True, check=False)
    return sorted(line.partition(":")[0] for line in done.stdout.split())


def _listed_hosts(hostfile: Path) -> list[str]:
    return [line.split()[0] for line in hostfile.read_text().splitlines() if line.strip()]


def _states(hosts: Sequence[str]) -> dict[str, State]:
    """When each host's first process began, which tells one from its successor, and its OOM kills.

    A host that does not answer has an empty state.
    """
    with ThreadPoolExecutor(max(1, len(hosts))) as threads:
        return dict(zip(hosts, threads.map(_state, hosts), strict=True))


def _state(host: str) -> State:
    ask = ["ssh", "-o", f"ConnectTimeout={_ASK_S}", host, _QUESTION]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=2 * _ASK_S, check=False)
    except subprocess.TimeoutExpired:
        return ()
    if done.returncode:
        return ()
    began, *counters = done.stdout.split("\n")
    kills = [int(line.split()[1]) for line in counters if line.startswith("oom_kill ")]
    return began, max(kills, default=0)


def _say_starved(states: Mapping[str, State]) -> None:
    for host, state in states.items():
        if state and state[1]:
            print(f"{STARVED} {host.partition('.')[0]}", file=sys.stderr, flush=True)


# The first process's start is the 22nd word of its stat; the counters are cgroup v2's and v1's.
_QUESTION = (
    "cut -d' ' -f22 /proc/1/stat; "
    "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true"
)


if __name__ == "__main__":
    sys.exit(main())
