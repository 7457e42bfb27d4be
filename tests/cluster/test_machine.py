"""What a cluster's machines stand on, without a cluster: namespaces and control groups."""

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cgroups
from tests.cluster.missing import Missing, refuse_where_no_cluster_can_run

ROOT = Path(__file__).parents[2]
LOOK_AT_ITS_RESOLVER = """
import sys
from pathlib import Path
from tests.cluster.machine import start_machine

folder, group = Path(sys.argv[1]), sys.argv[2]
(folder / "resolv.conf").write_text("nameserver 10.96.0.10")
print(start_machine("node", folder / "node", f"{group}/node", folder / "resolv.conf").run(
    "cat", "/etc/resolv.conf"), end="")
"""


@pytest.fixture
def group() -> Iterator[str]:
    try:
        refuse_where_no_cluster_can_run()
    except Missing as missing:
        pytest.skip(str(missing))
    name = f"pocketkube-{secrets.token_hex(4)}"
    yield name
    cgroups.remove(name)


def test_a_machine_asks_the_clusters_dns_where_resolv_conf_leads_into_run(
    group: str, tmp_path: Path
) -> None:
    etc = tmp_path / "etc"
    as_with_systemd = [
        "mount --make-rprivate /",
        f"cp -a /etc {etc}",
        f"ln -sf ../run/systemd/resolve/stub-resolv.conf {etc}/resolv.conf",
        f"mount --bind {etc} /etc",
        f'exec "$@" {tmp_path} {group}',
    ]
    done = subprocess.run(
        [
            *("unshare", "--mount", "bash", "-ec", "\n".join(as_with_systemd), "bash"),
            *(sys.executable, "-c", LOOK_AT_ITS_RESOLVER),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "nameserver 10.96.0.10", done.stderr


def test_groups_may_go_while_processes_are_looked_for(group: str) -> None:
    cgroups.create(group)
    root = next(iter(cgroups.hierarchies()))
    stop = threading.Event()

    def come_and_go() -> None:
        while not stop.is_set():
            pods = [root / group / f"pod{number}" for number in range(20)]
            for pod in pods:
                pod.mkdir()
            for pod in pods:
                pod.rmdir()

    others = threading.Thread(target=come_and_go)
    others.start()
    try:
        for _ in range(200):
            assert os.getpid() not in cgroups.processes(group)
    finally:
        stop.set()
        others.join()
