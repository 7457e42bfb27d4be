"""What is known of an MPIJob's workers: which there are, and what has become of them."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# As mpi-operator mounts it, with a host's name in each line, and with no word of slots.
DISCOVER = Path("/etc/mpi/discover_hosts.sh")
# Said of a host whose kernel has killed a process for want of memory.
STARVED = "memory ran out on"
_ASK_S = 15
State = tuple[str, int] | tuple[()]


def discovered_hosts() -> list[str]:
    """What mpi-operator's script lists: the workers that run."""
    done = subprocess.run([str(DISCOVER)], capture_output=True, text=True, check=False)
    return sorted(line.partition(":")[0] for line in done.stdout.split())


def states_of(hosts: Sequence[str]) -> dict[str, State]:
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


def say_starved(states: Mapping[str, State]) -> None:
    """Tells of hosts whose memory ran out; their launcher's reader knows the words."""
    for host, state in states.items():
        if state and state[1]:
            print(f"{STARVED} {host.partition('.')[0]}", file=sys.stderr, flush=True)


# The first process's start is the 22nd word of its stat; the counters are cgroup v2's and v1's.
_QUESTION = (
    "cut -d' ' -f22 /proc/1/stat; "
    "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null; true"
)
