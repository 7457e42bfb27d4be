"""Which emulator aarch64 programs run by: another's that is there already, if it does, or ours."""

import subprocess
import sys

import pytest

OURS = "cache/pocketkube/arm64/qemu-user-trixie/qemu-aarch64"
MAGIC = "7f454c460201010000000000000000000200b700"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="binfmt_misc is Linux's")


@pytest.fixture
def kernel(machine):
    """An x86 machine on which another's emulator can be registered, and ours was fetched before."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody have mounts of their own")
    machine.has("uname", "echo x86_64")
    (machine.folder / "binfmt_misc").mkdir()
    (machine.folder / "binfmt_misc/register").touch()
    (machine.folder / OURS).parent.mkdir(parents=True)
    (machine.folder / OURS).touch(mode=0o755)
    return machine


def register(machine, *, state="enabled", flags="OCF", version="10.0.13"):
    """Registers ours beside another's; returns what the kernel is told, and the user."""
    machine.has("theirs", f"echo qemu-aarch64 version {version}")
    entry = [
        state,
        f"interpreter {machine.folder}/bin/theirs",
        f"flags: {flags}",
        "offset 0",
        f"magic {MAGIC}",
    ]
    (machine.folder / "binfmt_misc/qemu-aarch64").write_text("\n".join(entry))
    done = machine.run(
        "unshare",
        "-rm",
        "bash",
        "-c",
        f"mount --bind {machine.folder}/binfmt_misc /proc/sys/fs/binfmt_misc"
        " && mount -t tmpfs none /run && images/arm64/emulator.sh register test",
    )
    assert done.returncode == 0, done.stderr
    return (machine.folder / "binfmt_misc/register").read_text(), done.stderr


def test_an_emulator_that_does_is_taken_as_it_is(kernel):
    told_kernel, told_user = register(kernel)
    assert not told_kernel
    assert told_user.endswith(f"aarch64 programs already run by {kernel.folder}/bin/theirs\n")


@pytest.mark.parametrize(
    "unfit",
    [{"state": "disabled"}, {"flags": "OC"}, {"version": "7.2.22"}],
    ids=["disabled", "absent in containers", "shows the host's processor"],
)
def test_one_that_does_not_gets_ours_before_it(kernel, unfit):
    told_kernel, _ = register(kernel, **unfit)
    assert told_kernel.endswith(f":{kernel.folder / OURS}:OCF\n")


def test_what_cannot_be_fetched_is_told_in_one_line(kernel):
    (kernel.folder / OURS).unlink()
    kernel.has("apt-get")
    done = kernel.run("images/arm64/emulator.sh", "fetch")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("apt knows no Debian mirror")
    assert "register a qemu 10 or newer" in line
