"""Runs processes that train together to their end, and goes on where some are lost."""

import queue
import subprocess
import sys
import threading
from contextlib import suppress

from pocketkube.errors import MachineError
from pocketkube.launch.elastic.group import Group
from pocketkube.launch.elastic.hosts import Hosts
from pocketkube.launch.elastic.rendezvous import Rendezvous
from pocketkube.processes.children import end_trees
from pocketkube.processes.ranks import GROUP, TOO_LATE

_LOOK_S = 1.0
# More losses, beside one of each process, have a reason that stays.
_MOST_IN_VAIN = 3
# For what a process has printed last.
_READ_S = 2.0


class ElasticRun:
    """The processes that run, and what becomes of them.

    Args:
        hosts: Where they run.
        least: With fewer work waits for more.
        most: How many are wanted.
        address: Of this machine, as the processes reach it.
    """

    def __init__(self, hosts: Hosts, least: int, most: int, address: str) -> None:
        self._hosts, self._least, self._most, self._address = hosts, least, most, address
        self._rendezvous = Rendezvous(address, Group(least))
        self._running: dict[str, subprocess.Popen] = {}
        self._ended: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
        self._following: list[threading.Thread] = []
        self._begin()
        # Losses since something was committed or done.
        self._losses = self._progress = 0
        self._printing = threading.Lock()

    def _begin(self) -> None:
        self._done: set[str] = set()
        self._took_part: set[str] = set()
        self._first: str | None = None
        self._late_in: int | None = None
        self._waits = False

    def to_the_end(self) -> int:
        """Starts processes, again where some are lost, until the first has done all.

        Returns:
            The exit code: that of a process that refused its work or failed; 128 + n where signal n
            ended processes so often that it makes no sense to go on.
        """
        while True:
            if not self._done and self._late_in != self._group.section:
                self._start_more()
            self._say_who_joined()
            seconds = _LOOK_S
            with suppress(queue.Empty):
                while True:
                    name, code = self._ended.get(timeout=seconds)
                    if (end := self._after(name, code)) is not None:
                        return end
                    seconds = 0
            if self._group.rounds_in_vain > _MOST_IN_VAIN * (1 + self._most):
                self._say(
                    f"{self._group.rounds_in_vain} times in a row no connection of processes held"
                )
                return MachineError.EXIT_CODE

    def end_all(self) -> None:
        """Ends all processes."""
        running, self._running = self._running, {}
        end_trees(list(running.values()))
        # Python may abort where a thread prints while it ends.
        for thread in self._following:
            thread.join(2 * _READ_S)
        self._following.clear()

    @property
    def _group(self) -> Group:
        return self._rendezvous.group

    def _start_more(self) -> None:
        names = self._hosts.free(list(self._running), self._most)
        self._group.add(names)
        if self._first is None and names:
            self._first = names[0]
        for name in names:
            self._running[name] = self._hosts.start(name, self._environment(name))
            self._follow(name, self._running[name])
        if self._group.waits_for_more and not self._waits:
            self._say(f"waits for {self._least} processes; {len(self._running)} are there")
        self._waits = self._group.waits_for_more

    def _say_who_joined(self) -> None:
        members = self._group.members
        if self._took_part:
            for name in set(members) - self._took_part:
                self._say(f"{name} takes part; work goes on with {len(members)}")
        self._took_part |= set(members)

    def _environment(self, name: str) -> dict[str, str]:
        return {
            "HOROVOD_CONTROLLER": "gloo",
            "HOROVOD_CPU_OPERATIONS": "gloo",
            "HOROVOD_ELASTIC": "1",
            "HOROVOD_GLOO_RENDEZVOUS_ADDR": self._address,
            "HOROVOD_GLOO_RENDEZVOUS_PORT": str(self._rendezvous.port),
            "HOROVOD_HOSTNAME": name,
            # What it is until it has its place.
            "HOROVOD_RANK": str(len(self._running)),
            "HOROVOD_SIZE": str(self._most),
            "HOROVOD_LOCAL_RANK": "0",
            "HOROVOD_LOCAL_SIZE": "1",
            GROUP: self._rendezvous.token,
        }

    def _after(self, name: str, code: int) -> int | None:
        """What follows from the end of a process; an exit code where that is the end of all."""
        if self._running.pop(name, None) is None:
            return None
        first = next(iter(self._group.members), self._first)
        self._group.remove(name)
        if code == 0:
            if name == first:
                return 0
            self._done.add(name)
            self._group.end_with_any()
        elif code == TOO_LATE:
            self._say(f"{name} comes too late for the training that goes on, and takes no part")
            # So would others.
            self._late_in = self._group.section
        elif 0 < code < 128:
            return code
        elif self._is_in_vain(name):
            return 128 - code if code < 0 else code
        is_lost = code not in (0, TOO_LATE)
        has_nobody = bool(self._done) or self._group.is_orphaned or not self._group.members
        if first not in self._running and has_nobody:
            self._say(f"{first} is lost, and with it what was learnt: work begins again")
            self.end_all()
            self._begin()
            self._rendezvous.group = Group(self._least, self._progress)
        elif is_lost:
            self._say(f"{name} is lost; work goes on with {len(self._running)}")
        return None

    def _is_in_vain(self, name: str) -> bool:
        """Takes note of a loss; whether processes are lost again and again at one place."""
        self._hosts.lose(name)
        progress = self._group.progress
        self._losses = self._losses + 1 if progress == self._progress else 1
        self._progress = progress
        return self._losses > _MOST_IN_VAIN + self._most

    def _follow(self, name: str, process: subprocess.Popen) -> None:
        def read(stream_name: str) -> None:
            stream = getattr(process, stream_name)
            for line in stream:
                self._print(f"[1,{self._rank(name)}]<{stream_name}>:", line)

        def wait() -> None:
            readers = [
                threading.Thread(target=read, args=(s,), daemon=True) for s in ("stdout", "stderr")
            ]
            for reader in readers:
                reader.start()
            code = process.wait()
            for reader in readers:
                # What it has started itself may hold the pipe.
                reader.join(_READ_S)
            self._ended.put((name, code))

        self._following.append(threading.Thread(target=wait, daemon=True))
        self._following[-1].start()

    def _rank(self, name: str) -> int:
        place = self._group.place_of(name)
        if place is not None:
            return place.rank
        names = list(self._running)
        return names.index(name) if name in names else len(names)

    def _print(self, tag: str, line: bytes) -> None:
        with self._printing:
            sys.stdout.buffer.write(tag.encode() + line)
            sys.stdout.buffer.flush()

    def _say(self, text: str) -> None:
        with self._printing:
            print(text, file=sys.stderr, flush=True)
