"""The links of a cluster's machines, on addresses that nobody here uses.

this machine .1 -- .2 the first machine .5 -- .6 the second
"""

import ipaddress
import json
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.machine import Machine
from tests.cluster.missing import Missing

SERVICES = "10.96.0.0/16"
API_SERVICE, DNS_SERVICE = "10.96.0.1", "10.96.0.10"
PODS = "10.244.0.0/16"
# The pods of each machine, by its number from 1.
PODS_ON = "10.244.{}.0/24"
# Where this machine routes all of one, as companies do with 10.0.0.0/8, the next may be free.
_RANGES = ("10.77", "172.29", "192.168")


@dataclass(frozen=True)
class Network:
    """A cluster's addresses.

    Attributes:
        number: The number of its link, which says what its addresses begin with.
    """

    number: int

    @property
    def link(self) -> str:
        """Name of the link on this machine."""
        return f"pocketkube{self.number}"

    def address(self, host: int) -> str:
        """One address of the network."""
        return f"{_RANGES[self.number // 256]}.{self.number % 256}.{host}"


def connect(machine: Machine, *, owner: str) -> Network:
    """Links this machine with a cluster's first, on addresses that are free.

    Args:
        machine: The cluster's first.
        owner: Whose link it is: `disconnect` finds it by that.

    Raises:
        Missing: If none are.
    """
    used = _used()
    for number in range(256 * len(_RANGES)):
        network = Network(number)
        if any(ipaddress.ip_network(f"{network.address(0)}/24").overlaps(other) for other in used):
            continue
        # Whoever makes the link has the number: another cluster may be starting just now.
        if _link(network.link, machine, "eth0"):
            _ip("link", "set", network.link, "alias", owner)
            _ip("address", "add", f"{network.address(1)}/30", "dev", network.link)
            _ip("link", "set", network.link, "up")
            _up(machine, "eth0", network.address(2))
            machine.run("ip", "route", "add", "default", "via", network.address(1))
            return network
    raise Missing(f"no network is free in {', '.join(f'{start}.0.0/16' for start in _RANGES)}")


def join(first: Machine, second: Machine, network: Network) -> None:
    """Links a cluster's second machine with its first, and their pods."""
    name = f"{network.link}b"
    if not _link(name, second, "eth0"):
        raise Missing(f"there is a link called {name} already")
    _ip("link", "set", name, "netns", str(first.process))
    _up(first, name, network.address(5))
    _up(second, "eth0", network.address(6))
    second.run("ip", "route", "add", "default", "via", network.address(5))
    first.run("ip", "route", "add", PODS_ON.format(2), "via", network.address(6))


def disconnect(*, owner: str) -> None:
    """Removes a cluster's link: a connection left open keeps a network for a minute."""
    for place in Path("/sys/class/net").glob("pocketkube*"):
        # It may be gone by now.
        with suppress(FileNotFoundError, subprocess.CalledProcessError):
            if (place / "ifalias").read_text().strip() == owner:
                _ip("link", "delete", place.name)


def _used() -> list[ipaddress.IPv4Network]:
    routes = json.loads(_ip("-json", "-4", "route", "show", "table", "all"))
    names = (route["dst"] for route in routes if route["dst"] != "default")
    return [ipaddress.IPv4Network(name, strict=False) for name in names]


def _link(name: str, machine: Machine, inside: str) -> bool:
    try:
        _ip("link", "add", name, "type", "veth", "peer", inside, "netns", str(machine.process))
    except subprocess.CalledProcessError as error:
        if b"File exists" in error.stderr:
            return False
        raise
    return True


def _up(machine: Machine, device: str, address: str) -> None:
    machine.run("ip", "address", "add", f"{address}/30", "dev", device)
    machine.run("ip", "link", "set", device, "up")


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True).stdout.decode()
