"""Training that several processes share goes on where they are killed, and ends as if none had been."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest

from pocketkube.bundle import load_bundle
from pocketkube.launch.local_workers import LocalWorkers
from pocketkube.launch.outcome import Cause
from pocketkube.launch.processes import ProcessJob
from pocketkube.spec import parse_spec
from tests.steps import call_of, run_step

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("horovod") is None, reason="Horovod is missing: run make horovod"),
]

# Steps so small that rounding stays small, whoever adds up; one batch more or less shows in the loss.
SPEC = {
    "model": "lenet",
    "dataset": "digits",
    "stages": [],
    "training": {
        "epochs": 40,
        "batch_size": 32,
        "checkpoint_steps": 5,
        "optimizer": "sgd",
        "learning_rate": 1e-4,
        "momentum": 0.0,
    },
}
TRAINS = "stage=train step="
Kill = Callable[[dict[str, psutil.Process]], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that one process trains."""
    folder = tmp_path_factory.mktemp("whole") / "model"
    run_step(parse_spec(SPEC), "train_model", {}, folder)
    return folder


def started(output: Path, workers: int = 2) -> ProcessJob:
    spec = parse_spec(SPEC | {"training": SPEC["training"] | {"workers": workers}})
    lease = output.with_name("lease.held")
    return LocalWorkers(workers, lease).start(call_of(spec, "train_model", {}, output))


def ranks(job: ProcessJob) -> dict[str, psutil.Process]:
    """The processes that train, by name: the first to be started has the number 0."""
    found = {}
    for process in psutil.Process(job.pid).children():
        # One that has just ended.
        with contextlib.suppress(psutil.Error):
            found[process.environ().get("HOROVOD_HOSTNAME", "")] = process
    return found


def trained(job: ProcessJob, *kills: tuple[str, Kill]) -> list[str]:
    """Follows a job to its end, and does in turn what is to be done when it has said something."""
    lines, left = [], list(kills)
    for line in job.follow():
        lines.append(line)
        if left and left[0][0] in line:
            left.pop(0)[1](ranks(job))
    assert not left, lines
    assert job.outcome.cause is Cause.DONE, job.outcome
    return lines


def assert_alike(one: Path, other: Path) -> None:
    """The same course of training: each example counted once in each epoch's loss."""
    ours, theirs = load_bundle(one), load_bundle(other)
    losses = [bundle.facts.stages[0].history.loss for bundle in (ours, theirs)]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for a, b in zip(ours.model.get_weights(), theirs.model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def kill(name: str) -> Kill:
    return lambda there: there[name].kill()


def kill_all(there: dict[str, psutil.Process]) -> None:
    for process in there.values():
        process.kill()


def test_the_others_go_on_and_new_ones_join(whole: Path, tmp_path: Path) -> None:
    joined = "worker-2 takes part; work goes on with 2"
    kills = ((TRAINS, kill("worker-0")), (joined, kill("worker-1")))
    lines = trained(started(tmp_path / "model"), *kills)
    assert "worker-0 is lost; work goes on with 1" in lines
    assert "worker-1 is lost; work goes on with 1" in lines
    assert_alike(tmp_path / "model", whole)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_it_begins_again_from_the_checkpoint_where_all_are_lost(whole: Path, tmp_path: Path) -> None:
    kills = ((TRAINS, lambda there: None), (TRAINS, kill_all))
    lines = trained(started(tmp_path / "model"), *kills)
    assert any("with it what was learnt: work begins again" in line for line in lines)
    steps = [line.split("step=")[1].split("/")[0] for line in lines if TRAINS in line]
    # None but the steps since the last checkpoint are computed again.
    assert 1 < int(steps[1]) < int(steps[2]) + SPEC["training"]["checkpoint_steps"]
    assert_alike(tmp_path / "model", whole)


def test_all_end_with_the_one_that_started_them_and_training_goes_on(
    whole: Path, tmp_path: Path
) -> None:
    job = started(tmp_path / "model")
    shown = (line for line in job.follow() if TRAINS in line)
    next(shown), next(shown)
    those = ranks(job)
    os.kill(job.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(those.values(), 20)
    assert not alive
    lines = trained(started(tmp_path / "model"))
    assert_alike(tmp_path / "model", whole)
    first = next(line for line in lines if TRAINS in line)
    assert int(first.split("step=")[1].split("/")[0]) > 5


def test_one_that_is_lost_again_and_again_ends_the_work(tmp_path: Path) -> None:
    job = started(tmp_path / "model")
    until = time.monotonic() + 120
    for _ in job.follow():
        if time.monotonic() > until:
            break
        kill_all(ranks(job))
    assert job.outcome.cause in (Cause.NODE_LOST, Cause.OUT_OF_MEMORY)
    assert job.outcome.exit_code == 137
    assert not (tmp_path / "model").exists()
