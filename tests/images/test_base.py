"""The base image of BASE=debootstrap, on a machine that only plays making one."""

import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cluster.binaries import HOST

MIRROR = "https://user:password@mirror.example/debian"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Debian's programs are Linux's")


def buildah(machine, **does):
    """A builder that has no base yet, empty images, and one name for all containers."""
    actions = {"inspect": "[[ $* != *-base:* ]]", "from": "echo new-container"}
    actions |= {"mount": f"mkdir -p {machine.folder}/image; echo {machine.folder}/image"} | does
    return f"case $1 in {' '.join(f'{name}) {action} ;;' for name, action in actions.items())} esac"


@pytest.fixture
def debian(machine):
    """A Debian machine with buildah, as root."""
    machine.has("id", "echo 0")
    machine.has("apt-get", f'[ "$1" != indextargets ] || echo bookworm Debian {MIRROR}')
    machine.has("dpkg", f"echo {HOST}")
    machine.has("chroot", f'cat "$1"/run/secrets/* > {machine.folder}/told')
    machine.has(
        "debootstrap",
        'root=${*: -2:1}; mkdir -p "$root"/{run,etc/apt/apt.conf.d,etc/dpkg/dpkg.cfg.d,usr/share/doc}\n'
        'echo "deb ${*: -1} bookworm main" > "$root/etc/apt/sources.list"',
    )
    machine.has("buildah", buildah(machine))
    return machine


def test_without_debootstrap_one_line_says_so_and_nothing_is_built(debian):
    (debian.folder / "bin" / "debootstrap").unlink()
    done = debian.run("images/build.sh", "benchmark", BASE="debootstrap")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "BASE=debootstrap needs debootstrap (Debian: apt-get install debootstrap)."
    ]
    assert not debian.calls("buildah")


def test_the_images_are_built_on_the_base(debian):
    done = debian.run("images/build.sh", "benchmark", BASE="debootstrap")
    assert done.returncode == 0, done.stderr
    (base,) = {call.split()[-1] for call in debian.calls("buildah") if call.split()[1] == "commit"}
    (built,) = (call for call in debian.calls("buildah") if call.split()[1] == "build")
    assert f"--build-arg BASE={base} " in built
    assert "buildah rm new-container" in debian.calls("buildah")


def test_a_base_that_cannot_be_filled_is_not_kept(debian):
    debian.has("buildah", buildah(debian, add="exit 125"))
    done = debian.run("images/build.sh", "benchmark", BASE="debootstrap")
    assert done.returncode != 0
    called = [call.split()[1] for call in debian.calls("buildah")]
    assert not {"commit", "build"} & set(called)
    assert debian.calls("buildah")[-1] == "buildah rm new-container"


def test_the_mirror_and_its_certificates_are_used_and_in_no_base(debian, tmp_path):
    (tmp_path / "company.pem").write_text("OURS")
    done = debian.run(
        "images/build.sh",
        "benchmark",
        BASE="debootstrap",
        CA_CERTIFICATES=str(tmp_path / "company.pem"),
    )
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told").read_text()
    assert f"{MIRROR} bookworm main" in told
    assert "OURS" in told
    assert 'Acquire::https::CaInfo "/run/secrets/certificates";' in told
    (archive,) = (tmp_path / "cache").rglob("*.tar")
    with tarfile.open(archive) as base:
        held = {entry.name: entry for entry in base}
        said = b"".join(base.extractfile(entry).read() for entry in held.values() if entry.isfile())
    assert b"mirror.example" not in said
    assert b"OURS" not in said
    assert "./run/secrets" not in held


def test_apt_is_told_in_the_images_what_it_is_told_in_the_base(debian, tmp_path):
    debian.has(
        "buildah",
        f"for word; do case $word in id=apt,*) cat ${{word#*src=}} >> {tmp_path}/apt; esac; done\n"
        + buildah(debian),
    )
    (tmp_path / "company.pem").write_text("OURS")
    settings = {"BASE": "debootstrap", "CA_CERTIFICATES": str(tmp_path / "company.pem")}
    done = debian.run("images/build.sh", "benchmark", **settings)
    assert done.returncode == 0, done.stderr
    assert 'Dir::Etc::SourceList "/run/secrets/sources";' in (tmp_path / "apt").read_text()
    assert 'Acquire::https::CaInfo "/run/secrets/certificates";' in (tmp_path / "apt").read_text()


def test_two_checkouts_may_make_the_base_at_once(debian):
    debian.has("tar", '/usr/bin/tar "$@"; sleep 1')
    with ThreadPoolExecutor() as both:
        runs = [
            both.submit(debian.run, "images/build.sh", "benchmark", BASE="debootstrap")
            for _ in range(2)
        ]
    assert [run.result().returncode for run in runs] == [0, 0], [run.result().stderr for run in runs]
    (base,) = (debian.folder / "cache/pocketkube/base").iterdir()
    assert tarfile.is_tarfile(base)
