"""Native code may die without the process that asks for it."""

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from pocketkube.errors import OutOfMemory
from pocketkube.native.child import Child, ChildDied, ChildRefused, ask_or_user_error

ROOT = Path(__file__).parents[2]


@pytest.fixture
def child():
    child = Child("tests.native.answers", idle_limit_s=2.0)
    yield child
    child.end()


def test_one_process_answers_one_request_after_the_other(child) -> None:
    first, second = (child.ask({"do": "tell", "what": word}) for word in ("one", "two\nlines"))
    assert (first["told"], second["told"]) == ("one", "two\nlines")
    assert first["pid"] == second["pid"] == child.pid
    process = psutil.Process(child.pid)
    child.end()
    assert child.pid is None
    assert not process.is_running()


@pytest.mark.parametrize(
    ("do", "how"),
    [
        ("crash", "a segmentation fault"),
        ("leave", r"exit status 3 \(the last word\)"),
        ("wait", "no step forward in 2 s"),
    ],
)
def test_what_ends_it_is_told_and_the_next_request_is_answered(child, do, how) -> None:
    child.start()
    was = child.pid
    with pytest.raises(ChildDied, match=how):
        child.ask({"do": do})
    assert child.ask({"do": "tell", "what": "again"})["pid"] not in (None, was)


def test_errors_of_python_come_back_as_such(child) -> None:
    with pytest.raises(ChildRefused, match="Give something else") as users:
        child.ask({"do": "refuse"})
    with pytest.raises(ChildRefused, match="odd") as ours:
        child.ask({"do": "raise"})
    assert str(users.value.meaning) == "Give something else."
    assert ours.value.meaning is None
    assert (users.value.printed, ours.value.printed) == ("", "a hint\n")


def test_memory_that_runs_out_in_it_is_told_as_such(child) -> None:
    for do in ("starve", "starve in Python"):
        with pytest.raises(OutOfMemory, match="Memory ran out: use a smaller network"):
            ask_or_user_error(child, {"do": do}, lambda how: f"It died of {how}.")


def test_one_that_was_killed_while_it_waited_is_started_anew(child) -> None:
    was = child.ask({"do": "tell", "what": ""})["pid"]
    psutil.Process(was).kill()
    psutil.Process(was).wait(timeout=10)
    assert child.ask({"do": "tell", "what": ""})["pid"] != was


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("when", ["begins", "works"])
def test_it_ends_with_its_parent(how: signal.Signals, when: str) -> None:
    # A busy child holds Python's lock, as native code does, and looks at nothing.
    program = (
        "import signal; from pocketkube.native.child import Child; c = Child('tests.native.answers');"
        + ("c.start()" if when == "begins" else "c.ask({'do': 'tell', 'what': ''})")
        + "; print(c.pid, flush=True); "
        + ("signal.pause()" if when == "begins" else "c.ask({'do': 'hold'})")
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if when == "works":
            time.sleep(0.5)
        parent.send_signal(how)
        parent.wait(timeout=60)
    _, alive = psutil.wait_procs([child], timeout=10)
    assert not alive


def test_it_outlives_the_thread_that_started_it(child) -> None:
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    was = child.pid
    time.sleep(0.2)
    assert child.ask({"do": "tell", "what": ""})["pid"] == was
