"""Training that several workers share, who may be other ones, and more or fewer, later on."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.data.dataset import Labels
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.training.evaluation import evaluate_by, judge_of
from pocketkube.training.history import Epoch
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.workers import SingleProcess, WorkersChanged, share_weight
from tests.training.test_loop import (
    CLASSIFY,
    Stopping,
    Stops,
    course,
    digits,  # noqa: F401
    needs_horovod,
    net,
    run_ranks,
    same,
)


class Ranked(SingleProcess):
    """One of several workers."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size


@pytest.mark.parametrize(("batch", "size"), [(128, 3), (128, 2), (5, 4), (7, 1)])
def test_shares_weigh_as_their_rows(batch: int, size: int) -> None:
    """Each row counts the same in the mean over workers of their means over rows."""
    rows, mean = np.random.default_rng(0).normal(size=batch), 0.0
    for rank in range(size):
        worker = Ranked(rank, size)
        mean += rows[rank::size].mean() * share_weight(batch, worker) / size
    assert mean == pytest.approx(rows.mean(), rel=1e-12)


def test_a_worker_that_is_left_without_an_example_adds_nothing_to_what_the_others_find() -> None:
    """Of one example the second of two workers has no row, with which no LSTM can be traced."""
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, keras.layers.Dense(10)(keras.layers.LSTM(2)(inputs)))
    x, y = np.ones((1, 3, 2), np.float32), np.array([7])
    one = examples_of_arrays((x,), (y,), (Labels(10),))
    alone, first, second = (
        evaluate_by(judge_of(model, CLASSIFY, Method()), one, CLASSIFY, worker)
        for worker in (SingleProcess(), Ranked(0, 2), Ranked(1, 2))
    )
    assert first == alone
    assert first.loss > 0
    assert (second.loss, second.score, second.each.tolist()) == (0, 0, [0])


class Leaving(SingleProcess):
    """A group that is no longer the same after some commits."""

    def __init__(self, commits: int) -> None:
        self._left = commits

    def check(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise WorkersChanged


def test_a_new_group_goes_on_in_the_middle_of_an_epoch(digits) -> None:  # noqa: F811
    whole, changed = net(dropout=0.3), net(dropout=0.3)
    wanted = train(whole, digits, CLASSIFY, course(), seed=0)
    groups = iter([Leaving(7), Leaving(20), SingleProcess()])
    often = course(checkpoint_steps=1)
    history = train(changed, digits, CLASSIFY, often, seed=0, workers=lambda: next(groups))
    assert same(whole, changed)
    assert history.loss == wanted.loss
    assert history.val_score == wanted.val_score


def test_each_epoch_is_told_and_may_be_the_last(digits, tmp_path) -> None:  # noqa: F811
    told: list[Epoch] = []

    def two(epoch: Epoch) -> bool:
        told.append(epoch)
        return epoch.number == 2

    stopped, whole = net(), net()
    history = train(
        stopped, digits, CLASSIFY, course(epochs=4), seed=0, checkpoints=tmp_path, on_epoch=two
    )
    wanted = train(whole, digits, CLASSIFY, course(epochs=4), seed=0, on_epoch=lambda _: None)
    assert [epoch.number for epoch in told] == [1, 2]
    assert history.loss == tuple(epoch.loss for epoch in told) == wanted.loss[:2]
    assert history.val_score == tuple(epoch.val_score for epoch in told) == wanted.val_score[:2]
    assert all(epoch.seconds > 0 and epoch.epochs == 4 for epoch in told)
    assert {epoch.examples for epoch in told} == {digits.train.size // 64 * 64}
    assert history.kept_epoch in (1, 2)
    assert len(wanted.loss) == 4
    # It has ended: there is nothing to go on with.
    again = net()
    train(again, digits, CLASSIFY, course(epochs=4), seed=0, checkpoints=tmp_path)
    assert same(again, stopped)
    assert len(told) == 2


def test_courses_that_share_a_folder_keep_their_checkpoints(digits, tmp_path) -> None:  # noqa: F811
    settings = course(epochs=1, checkpoint_steps=5)
    for seed in (0, 1):
        with pytest.raises(Stops):
            train(
                net(),
                digits,
                CLASSIFY,
                settings,
                seed=seed,
                method=Stopping(12),
                checkpoints=tmp_path,
            )
    begun: list[int] = []

    class Counting(Method):
        fingerprint = Stopping.fingerprint

        def before_step(self, step, steps, optimizer) -> None:
            begun.append(step)

    for seed in (0, 1):
        train(net(), digits, CLASSIFY, settings, seed=seed, method=Counting(), checkpoints=tmp_path)
    assert begun.count(10) == 2
    assert min(begun) == 10


SEEN = """
import json, os, signal, sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
from test_loop import *
from pocketkube.processes.ranks import started_size
from pocketkube.training.distillation_term import DistillationTerm
folder = Path(sys.argv[1])
rank, size = int(os.environ["OMPI_COMM_WORLD_RANK"]), started_size()
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
# Each example's number is in its first pixel, and comes through the loop as it is.
(images,), labels = data.train.arrays
images = images.copy()
images[:, 0, 0, 0] = np.arange(len(images))
data = replace(data, train=replace(data.train, arrays=((images,), labels)))
now = tf.Variable(-1, trainable=False)

class Seen(DistillationTerm):
    def answers(self, inputs, labels):
        def note(step, numbers):
            name = f"{{int(step)}}-of{{size}}-rank{{rank}}.json"
            (folder / name).write_text(json.dumps([int(n) for n in numbers]))
            return np.int32(0)
        done = tf.numpy_function(note, [now, inputs[0][:, 0, 0, 0]], tf.int32)
        with tf.control_dependencies([done]):
            return tuple(tf.identity(y) for y in labels), None

class Killed(Method):
    fingerprint = "killed"
    def before_step(self, step, steps, optimizer):
        now.assign(step)
        if size == 2 and step == 13 and rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

settings = course(epochs=2, batch_size=128, checkpoint_steps=6)
train(net(norm=False), data, CLASSIFY, settings, seed=0, method=Killed(), distillation=Seen(),
      checkpoints=folder)
"""


@needs_horovod
@pytest.mark.parametrize("size", [1, 3])
def test_other_workers_go_on_with_the_very_examples_that_were_left(tmp_path: Path, size: int) -> None:
    with pytest.raises(AssertionError):
        run_ranks(2, SEEN, tmp_path)
    # Ten steps an epoch: the checkpoint after step 12 is in the middle of the second one.
    # The rank that was not killed may have begun another step.
    before = {step for step, ranks, _ in seen(tmp_path)}
    assert set(range(13)) <= before <= set(range(14))
    run_ranks(size, SEEN, tmp_path)
    found = seen(tmp_path)
    resumed = {step for step, ranks, _ in found if ranks == size}
    assert resumed == set(range(12, 20))
    for epoch in (range(10), range(10, 20)):
        numbers = [
            number
            for step, ranks, given in found
            for number in given
            if step in epoch and ranks == (2 if step < 12 else size)
        ]
        assert len(numbers) == len(set(numbers)) == 10 * 128
    # The step that was taken twice was taken with the same examples.
    twice = [
        sorted(n for step, r, given in found for n in given if step == 12 and r == ranks)
        for ranks in (2, size)
    ]
    assert twice[0] == twice[1]


def seen(folder: Path) -> list[tuple[int, int, list[int]]]:
    """Step, number of workers and examples of each file."""
    return [
        (int(step), int(ranks.removeprefix("of")), json.loads(file.read_text()))
        for file in folder.glob("*-of*-rank*.json")
        for step, ranks, _ in [file.stem.split("-")]
    ]
