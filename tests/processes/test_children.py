"""Processes end with the one that started them, however that ends."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from pocketkube.processes.children import guarded, started
from pocketkube.processes.interruption import interrupt_again_where_dropped

# One in the background, one that has left the group, and what waits for them.
TREE = "sleep 300 & setsid sleep 300 & (setsid -f sleep 300); sleep 300; true"
PARENT = f"""
import signal
from pocketkube.processes.children import guarded, started
command = guarded(["sh", "-c", {TREE!r}])
# As where psutil is among the user's own packages: -S leaves out all that were added.
command.insert(1, "-S")
print(started(command, start_new_session=True).pid, flush=True)
signal.pause()
"""
FOLLOWER = """
import sys, time
from pocketkube.processes.children import end_with
end_with(int(sys.argv[1]))
print("follows", flush=True)
time.sleep(300)
"""


def test_all_that_a_guarded_command_started_ends_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        guard = psutil.Process(int(parent.stdout.readline()))
        deadline = time.monotonic() + 30
        while len(tree := guard.children(recursive=True)) < 5:
            assert time.monotonic() < deadline, tree
            time.sleep(0.05)
        parent.kill()
    _, alive = psutil.wait_procs([guard, *tree], timeout=20)
    assert not alive


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sh", "-c", "exit 3"], 3, ""),
        (["sh", "-c", "kill -9 $$"], -signal.SIGKILL, ""),
        (["sh", "-c", "kill -11 $$"], -signal.SIGSEGV, ""),
        (["no-such-program"], 127, "no-such-program: No such file or directory\n"),
    ],
)
def test_a_guarded_command_ends_as_it_would(words: list[str], code: int, said: str) -> None:
    done = subprocess.run(guarded(words), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


def test_a_process_outlives_the_thread_that_started_it() -> None:
    begun: list[subprocess.Popen] = []
    # It says when the thread is gone.
    command = ["sh", "-c", "read line; sleep 0.2; echo $line"]
    thread = threading.Thread(
        target=lambda: begun.append(
            started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
    )
    thread.start()
    thread.join()
    (process,) = begun
    assert process.communicate("goes on\n", timeout=30)[0] == "goes on\n"
    assert process.returncode == 0


# As gRPC may, when a process is forked while its threads are at work.
ABORTS_IN_FORKS = """
import os, sys
from pocketkube.processes.children import started
os.register_at_fork(after_in_child=os.abort)
sys.exit(started(["sh", "-c", "exit 3"]).wait())
"""


def test_what_libraries_do_where_they_are_forked_ends_no_process() -> None:
    assert subprocess.run([sys.executable, "-c", ABORTS_IN_FORKS], check=False).returncode == 3


@pytest.mark.skipif(sys.platform != "linux", reason="no program runs the command elsewhere")
def test_a_process_is_the_program_that_was_asked_for() -> None:
    """Neither a parent of it, nor with the signals that Python ignores."""
    with started(["sh", "-c", "echo $$; kill -PIPE $$"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.read()) == process.pid
    assert process.returncode == -signal.SIGPIPE
    with started(["no-such-program"], stderr=subprocess.PIPE, text=True) as process:
        assert process.communicate()[1] == "no-such-program: No such file or directory\n"
    assert process.returncode == 127


# It says when it is ended, and takes a while for that.
LEFT_RUNNING = """
from pocketkube.processes.children import started
ending = "trap 'sleep 0.5; echo ended; exit' TERM"
started(["sh", "-c", ending + "; echo begun; while :; do sleep 0.1; done"])
input()
raise SystemExit(3)
"""


def test_who_ends_by_itself_waits_for_what_it_leaves_running() -> None:
    command = [sys.executable, "-c", LEFT_RUNNING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"begun\n"
        parent.stdin.write(b"\n")
        parent.stdin.close()
        assert parent.wait(20) == 3
        # What is there by now was printed before.
        os.set_blocking(parent.stdout.fileno(), False)
        assert parent.stdout.read() == b"ended\n"


CLEANS_UP = """
import signal, time
from pocketkube.processes.interruption import interrupt_at_sigterm
interrupt_at_sigterm()
try:
    print("begun", flush=True)
    signal.pause()
finally:
    for _ in range(20):
        time.sleep(0.1)
    print("cleaned up", flush=True)
"""


def test_what_ends_a_program_is_not_interrupted_by_the_same_signal_again() -> None:
    command = [sys.executable, "-c", CLEANS_UP]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        while process.poll() is None:
            process.terminate()
            time.sleep(0.01)
        said, error = process.communicate()
    assert said == "cleaned up\n"
    assert error.splitlines()[-1].endswith("Terminated")


SWALLOWS = """
import signal, time
from pocketkube.processes import interruption
interruption._BURST_S = 0.5
interruption.interrupt_at_sigterm()
try:
    print("begun", flush=True)
    signal.pause()
except BaseException:
    pass
print("went on", flush=True)
signal.pause()
"""


def test_one_that_swallowed_the_interruption_is_interrupted_by_a_later_signal() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", SWALLOWS]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        assert process.stdout.readline() == "went on\n"
        time.sleep(0.6)
        process.terminate()
        assert process.wait(20) != 0


# Python drops what these raise.
DROPS = {
    "finalizer": """
class Dropping:
    def __del__(self):
        interrupted()
Dropping()
""",
    "weak-reference": """
import weakref
class Referred: pass
referred = Referred()
reference = weakref.ref(referred, interrupted)
del referred
""",
    "finalizer-that-both-reach": """
class Dropping:
    def __del__(self):
        both = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        for number in both:
            os.kill(os.getpid(), number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
Dropping()
""",
    "garbage-collector": """
import gc
gc.callbacks.append(lambda phase, _: phase == "start" and interrupted())
gc.collect()
gc.callbacks.clear()
""",
}

INTERRUPTED_WHERE_DROPPED = """
import os, signal, sys
from pocketkube.cli.ending import plain_ending
def interrupted(*_):
    signal.raise_signal(int(sys.argv[1]))
with plain_ending():
    try:
{drops}
        signal.pause()
    finally:
        print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", DROPS)
def test_an_interruption_that_python_drops_comes_again(place: str, number: signal.Signals) -> None:
    program = INTERRUPTED_WHERE_DROPPED.format(drops=textwrap.indent(DROPS[place], " " * 8))
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(number))], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 130
    assert done.stdout == "cleaned up\n"
    assert done.stderr == "pocketkube: interrupted; the same command goes on from here.\n"


INTERRUPTED_WHILE_TOLD = """
import signal, sys
from pocketkube.cli.ending import plain_ending
def interrupted(*_):
    for each in map(int, sys.argv[1:]):
        signal.raise_signal(each)
class Fails:
    def __del__(self):
        raise ValueError
sys.unraisablehook = interrupted
with plain_ending():
    try:
        Fails()
        signal.pause()
    finally:
        print("cleaned up", flush=True)
"""


@pytest.mark.parametrize("numbers", [[2], [15], [2, 15], [15, 2]], ids=str)
def test_an_interruption_while_python_tells_what_it_drops_comes_again(numbers: list[int]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_TOLD, *map(str, numbers)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (130, "cleaned up\n")
    assert done.stderr == "pocketkube: interrupted; the same command goes on from here.\n"


def test_a_rank_that_drops_ctrl_c_is_interrupted_all_the_same() -> None:
    program = INTERRUPTED_WHERE_DROPPED.format(drops=textwrap.indent(DROPS["finalizer"], " " * 8))
    done = subprocess.run(
        [sys.executable, "-c", program, str(int(signal.SIGINT))],
        env=os.environ | {"OMPI_COMM_WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (130, "cleaned up\n")


def test_what_else_python_drops_is_shown_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails:
        def __del__(self) -> None:
            raise ValueError("It failed.")

    shown = []
    monkeypatch.setattr("sys.unraisablehook", lambda dropped: shown.append(str(dropped.exc_value)))
    for _ in range(2):
        interrupt_again_where_dropped()
    Fails()
    assert shown == ["It failed."]


def test_one_that_follows_another_ends_when_that_is_killed() -> None:
    with subprocess.Popen(["sleep", "300"]) as followed:
        command = [sys.executable, "-c", FOLLOWER, str(followed.pid)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline()
            followed.kill()
            assert follower.wait(20) == -signal.SIGTERM
