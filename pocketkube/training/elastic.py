"""Workers that may come and go: Horovod over Gloo, whose group is made anew where it changes."""

import json
import os
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import psutil
import tensorflow as tf

from pocketkube.errors import MachineError
from pocketkube.processes.ranks import GROUP
from pocketkube.training.workers import HorovodWorkers, TooLate, WorkersChanged, initialize

# Longer than the other end takes to answer: it is gone then.
_ANSWER_S = 60.0
# Whatever proxies there are for the world outside.
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_GONE = "The process that has started this one, and others to train with it, is gone."


def elastic_workers() -> "ElasticWorkers":
    """See `workers.started_workers`."""
    return _this_process().group()


@cache
def _this_process() -> "Member":
    return Member()


class ElasticWorkers(HorovodWorkers):
    """The group that this process is in; see `pocketkube.launch.elastic`.

    Args:
        member: This process.
        round: Which group it is.
    """

    may_change = True

    def __init__(self, member: "Member", round: int) -> None:
        super().__init__()
        self._member, self._round = member, round

    def check(self) -> None:
        """See `Workers`; asks whether others wait to take part."""
        asked = self._member.asks_for_change(self._round) if self.rank == 0 else False
        if self.broadcast_object(asked):
            raise WorkersChanged

    @contextmanager
    def failures_as_changes(self) -> Iterator[None]:
        """See `Workers`."""
        try:
            yield
        except WorkersChanged:
            self._member.leave()
            raise
        except (tf.errors.OpError, RuntimeError, ValueError) as error:
            if "orovod" not in str(error):
                raise
            self._member.leave()
            raise WorkersChanged from error


class Member:
    """This process, for as long as it runs: its place changes with the group."""

    def __init__(self) -> None:
        address = os.environ["HOROVOD_GLOO_RENDEZVOUS_ADDR"]
        port = os.environ["HOROVOD_GLOO_RENDEZVOUS_PORT"]
        self._url = f"http://{address}:{port}/{os.environ[GROUP]}"
        self._name = os.environ["HOROVOD_HOSTNAME"]
        self._section, self._round = -1, 0
        self._goes_on = False
        os.environ.setdefault("HOROVOD_GLOO_IFACE", _interface_to(address, int(port)))

    def group(self) -> ElasticWorkers:
        """The group for the next piece of common work, or for the same once more after a change.

        Raises:
            TooLate: If the others have done this piece of work already.
        """
        import horovod.tensorflow as hvd

        self._section += not self._goes_on
        self._goes_on = False
        while True:
            place = self._place({"section": self._section, "reconnects": self._round == 0})
            if place is None:
                raise TooLate
            if place["round"] == self._round:
                return ElasticWorkers(self, self._round)
            rank, size = str(place["rank"]), str(place["size"])
            names = ("HOROVOD_RANK", "HOROVOD_CROSS_RANK", "HOROVOD_SIZE", "HOROVOD_CROSS_SIZE")
            os.environ.update(zip(names, (rank, rank, size, size), strict=True))
            hvd.shutdown()
            try:
                initialize()
            except (RuntimeError, ValueError):
                # Another was lost meanwhile.
                self._round = 0
                continue
            self._round = place["round"]
            return ElasticWorkers(self, self._round)

    def leave(self) -> None:
        """Ends the connections of a group that is to be made anew; others learn of it so."""
        import horovod.tensorflow as hvd

        hvd.shutdown()
        self._round, self._goes_on = 0, True

    def asks_for_change(self, round_: int) -> bool:
        """Whether others wait to take part."""
        return bool(self._ask(f"changes/{round_}"))

    def _place(self, request: dict[str, Any]) -> dict[str, int] | None:
        content = json.dumps(request)
        while (place := self._ask(f"join/{self._name}", content.encode())) == {}:
            content = "null"
        return place

    def _ask(self, path: str, content: bytes | None = None) -> Any:
        try:
            with _DIRECTLY.open(f"{self._url}/{path}", content, _ANSWER_S) as answer:
                return json.load(answer)
        except OSError as error:
            raise MachineError(_GONE) from error


def _interface_to(address: str, port: int) -> str:
    """The network interface by which this machine reaches another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((address, port))
        own = probe.getsockname()[0]
    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == own for each in addresses):
            return name
    return "eth0"
