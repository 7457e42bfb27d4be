"""The base image of BASE=debootstrap, on a machine that only plays making one."""

import platform

import pytest

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


@pytest.fixture
def debian(machine):
    """A Debian machine with buildah, as root."""
    machine.has("id", "echo 0")
    machine.has(
        "apt-get", '[ "$1" != indextargets ] || echo bookworm Debian http://mirror.example/debian'
    )
    machine.has("dpkg", f"echo {ARCH}")
    machine.has("chroot")
    machine.has(
        "debootstrap",
        'root=${*: -2:1}; mkdir -p "$root"/{run,etc/apt/apt.conf.d,etc/dpkg/dpkg.cfg.d,usr/share/doc}',
    )
    # It knows no image yet, and all containers are called the same.
    machine.has("buildah", "case $1 in inspect) exit 1 ;; from) echo new-container ;; esac")
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
    debian.has(
        "buildah", "case $1 in inspect) exit 1 ;; from) echo new-container ;; add) exit 125 ;; esac"
    )
    done = debian.run("images/build.sh", "benchmark", BASE="debootstrap")
    assert done.returncode != 0
    called = [call.split()[1] for call in debian.calls("buildah")]
    assert not {"commit", "build"} & set(called)
    assert debian.calls("buildah")[-1] == "buildah rm new-container"
