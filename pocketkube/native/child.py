"""A child process that answers one request after another, and may die of one without harm."""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import psutil

from pocketkube.errors import DataError, MachineError, OutOfMemory, UserError
from pocketkube.plain_errors import out_of_memory, says_out_of_memory
from pocketkube.processes.children import started
from pocketkube.processes.python_path import python_path

# A process that waits for nothing but itself uses the processor, however busy the machine is.
IDLE_LIMIT_S = 600.0
WORK_LIMIT_S = 7200.0
_POLL_INTERVAL_S = 5.0
_MEANINGS = {kind.__name__: kind for kind in (UserError, DataError, MachineError, OutOfMemory)}
_SIGNAL_NAMES: dict[int, str] = {
    signal.SIGSEGV: "a segmentation fault",
    signal.SIGABRT: "an abort",
    signal.SIGBUS: "a bus error",
    signal.SIGFPE: "an arithmetic fault",
    signal.SIGILL: "an illegal instruction",
    signal.SIGKILL: "a kill from outside, as Linux does where memory runs out",
}


class ChildDied(Exception):
    """A child ended before it answered.

    Attributes:
        cause: What ended it, as in "a segmentation fault".
        is_of_memory: Whether it said that memory ran out.
    """

    def __init__(self, cause: str, is_of_memory: bool = False):
        self.cause, self.is_of_memory = cause, is_of_memory
        super().__init__(cause)


class ChildRefused(Exception):
    """A child answered with an error that Python raised.

    Attributes:
        meaning: The error for the user, where `in_words` knew one.
        printed: What the child printed meanwhile, native code included.
    """

    def __init__(self, message: str, meaning: UserError | None, printed: str):
        self.meaning, self.printed = meaning, printed
        super().__init__(message)


class Child:
    """A process of a module that calls `serve`, started with the first request and kept for the next.

    One that dies is started anew with the request that follows. It ends with this process, however
    that ends.
    """

    def __init__(
        self, module: str, *, idle_limit_s: float = IDLE_LIMIT_S, work_limit_s: float = WORK_LIMIT_S
    ):
        """Starts nothing yet.

        Args:
            module: The module to run.
            idle_limit_s: How long it may use no processor time before it answers.
            work_limit_s: How much processor time it may use for one answer.
        """
        self._module, self._idle_limit_s, self._work_limit_s = module, idle_limit_s, work_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] | None = None
        self._owner, self._is_ready = 0, False
        self._lock = threading.Lock()
        atexit.register(self.end)

    @property
    def pid(self) -> int | None:
        """The process that waits for requests; None where there is none."""
        return self._process.pid if self._is_running() and self._process is not None else None

    def start(self) -> None:
        """Starts the process where it does not run, without waiting until it is ready."""
        if self._is_running():
            return
        self._printed = tempfile.TemporaryFile(mode="w+b")  # noqa: SIM115
        self._process = started(
            [sys.executable, "-P", "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": python_path()},
        )
        self._owner, self._is_ready = os.getpid(), False

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Sends a request and waits for the answer.

        Args:
            request: What JSON can hold.

        Returns:
            The answer.

        Raises:
            ChildDied: If the process ended, or was ended because it went on for too long.
            ChildRefused: If answering raised an error.
        """
        with self._lock:
            self.start()
            try:
                return self._asked(request)
            except BaseException as error:
                if not isinstance(error, ChildRefused):
                    self._kill()
                raise

    def end(self) -> None:
        """Ends the process, and waits until it has ended."""
        if not self._is_running() or self._process is None:
            return
        with contextlib.suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()

    def _asked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None
        assert self._printed is not None
        assert self._process.stdin is not None
        if not self._is_ready:
            if not self._line():
                raise self._death(0)
            self._is_ready = True
        begun = self._printed.seek(0, os.SEEK_END)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        line = self._line()
        if not line:
            raise self._death(begun)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            kind = _MEANINGS.get(answer["meaning"])
            meaning = None if kind is None else kind(answer["error"])
            raise ChildRefused(answer["error"], meaning, self._printed_since(begun))
        return answer

    def _line(self) -> bytes:
        """The answer; empty where the process ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        pause = min(_POLL_INTERVAL_S, self._idle_limit_s)
        looked, begun = time.monotonic(), _processor_seconds(self._process.pid)
        used = begun
        while not select.select([self._process.stdout], [], [], pause)[0]:
            now, seconds = time.monotonic(), _processor_seconds(self._process.pid)
            if seconds > used:
                looked, used = now, seconds
            if now - looked > self._idle_limit_s:
                raise ChildDied(f"no step forward in {self._idle_limit_s:.0f} s")
            if seconds - begun > self._work_limit_s:
                raise ChildDied(f"no end after {self._work_limit_s:.0f} s of computing")
        return self._process.stdout.readline()

    def _death(self, begun: int) -> ChildDied:
        assert self._process is not None
        status, printed = self._process.wait(), self._printed_since(begun)
        if says_out_of_memory(printed):
            return ChildDied("memory that ran out", is_of_memory=True)
        if status < 0:
            return ChildDied(describe_signal(-status))
        said = printed.strip().splitlines()
        return ChildDied(f"exit status {status}" + (f" ({said[-1][:200]})" if said else ""))

    def _printed_since(self, begun: int) -> str:
        assert self._printed is not None
        self._printed.seek(begun)
        return self._printed.read().decode("utf-8", "replace")

    def _is_running(self) -> bool:
        if self._process is None:
            return False
        if self._owner != os.getpid():
            # After a fork it answers the process that started it.
            self._process = None
            return False
        return self._process.poll() is None

    def _kill(self) -> None:
        if self._process is not None and self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert pipe is not None
                    pipe.close()
        self._process = None


def ask_or_user_error(
    child: Child, request: Mapping[str, Any], died: Callable[[str], str]
) -> dict[str, Any]:
    """Asks a child, and turns its death into a `UserError`.

    Args:
        child: The child.
        request: See `Child.ask`.
        died: Makes the user's sentence from what ended the child.

    Raises:
        UserError: If it died, or refused with an error that has a meaning for the user.
        ChildRefused: If it refused with another error.
    """
    try:
        return child.ask(request)
    except ChildDied as death:
        if death.is_of_memory:
            raise out_of_memory() from death
        raise UserError(died(death.cause)) from death
    except ChildRefused as refusal:
        if refusal.meaning is not None:
            raise refusal.meaning from refusal
        raise


def describe_signal(number: int) -> str:
    """A signal in words, as in "a segmentation fault"."""
    return _SIGNAL_NAMES.get(number, f"signal {number}")


def _processor_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
