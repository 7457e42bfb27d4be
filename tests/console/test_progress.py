"""What is shown of work that takes a while: on a terminal, and elsewhere."""

import os
import sys
import time

import pytest

from pocketkube.console import progress as module
from pocketkube.console.progress import progress, working
from pocketkube.console.quiet import captured_stderr


def test_time_left_is_told_as_soon_as_it_can_be_foreseen(capfd, monkeypatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.0)
    with progress("train", 3) as shown:
        for step in (1, 2, 3):
            shown.update(step)
    first, second, last = capfd.readouterr().err.splitlines()
    assert first == "stage=train step=1/3"
    assert second.startswith("stage=train step=2/3 left=")
    assert last == "stage=train step=3/3 left=0s"


def test_work_of_unknown_length_says_on_a_pipe_that_it_begins(capfd) -> None:
    with working("convert", to="int8"):
        assert capfd.readouterr().err == "stage=convert to=int8\n"
    assert capfd.readouterr().err == ""


def test_a_terminal_shows_how_long_it_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, slave = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        # Also while standard error is caught, as it is for most of a conversion.
        with working("convert", to="int8"), captured_stderr():
            time.sleep(1.2)
        monkeypatch.undo()
        shown = os.read(ours, 1 << 20).decode()
    os.close(ours)
    assert "convert" in shown
    assert "to=int8" in shown
    assert "0:00:01" in shown
