import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.spec.schema import Augmentation, DatasetSettings, Training
from pocketkube.training.loop import evaluate, train
from pocketkube.training.mpirun import mpirun_command
from pocketkube.training.schedules import learning_rate
from pocketkube.training.task import infer_task
from tests.tasks import class_task

CLASSIFY = class_task()


@pytest.fixture(scope="module")
def digits():
    return load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))


def net(*, dropout: float = 0.0, norm: bool = True, seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    parts = [keras.Input((8, 8, 1)), layers.Conv2D(8, 3, use_bias=not norm)]
    parts += [layers.BatchNormalization()] if norm else []
    parts += [layers.ReLU(), layers.Flatten(), layers.Dropout(dropout), layers.Dense(10)]
    return keras.Sequential(parts)


def course(**changes) -> Training:
    return Training(**({"epochs": 3, "batch_size": 64, "learning_rate": 0.01} | changes))


def same(one: keras.Model, other: keras.Model) -> bool:
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4},
        {"schedule": "cosine", "label_smoothing": 0.1, "clip_norm": 1.0},
        {"schedule": "step", "ema": 0.9},
        {"augmentation": Augmentation(shift=1, mixup=0.2)},
        {"mixed_precision": True},
    ],
)
def test_training_learns_the_digits(digits, changes) -> None:
    model = net()
    before = evaluate(model, digits.validation, CLASSIFY)
    # On eight pixels a shift of one is a lot: augmented images take twice the epochs.
    epochs = 16 if "augmentation" in changes else 8
    history = train(model, digits, CLASSIFY, course(epochs=epochs, **changes), seed=0)
    after = evaluate(model, digits.validation, CLASSIFY)
    assert after.score > 0.85 > before.score
    assert history.val_score[-1] == pytest.approx(after.score)
    # With mixed precision the last epoch was judged in float16.
    precision = 1e-3 if changes.get("mixed_precision") else 1e-5
    assert history.val_loss[-1] == pytest.approx(after.loss, rel=precision)
    assert len(history.loss) == epochs
    assert history.loss[-1] < history.loss[0]
    assert all(str(layer.dtype_policy.name) == "float32" for layer in model.layers)


def test_the_seed_decides(digits) -> None:
    models = [net(dropout=0.3) for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        train(model, digits, CLASSIFY, course(epochs=1), seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


def test_distance_is_the_softened_divergence() -> None:
    student, teacher = np.array([[1.0, 2.0, 0.5]]), np.array([[0.0, 3.0, 1.0]])
    p, q = (np.exp(z / 4) / np.exp(z / 4).sum() for z in (teacher, student))
    wanted = 16 * (p * np.log(p / q)).sum()
    given = CLASSIFY.distance_to(student, CLASSIFY.softened(teacher, 4.0), 4.0)
    assert float(given[0]) == pytest.approx(wanted, rel=1e-5)


def test_probabilities_are_understood() -> None:
    logits = np.array([[1.0, 2.0, 0.5]], np.float32)
    probabilities = np.exp(logits) / np.exp(logits).sum()
    labels = (np.array([1]),)
    whole = CLASSIFY.loss(labels, logits)
    given = class_task(3, from_logits=False).loss(labels, probabilities)
    np.testing.assert_allclose(whole, given, rtol=1e-5)


@pytest.mark.parametrize(
    ("last", "logits"),
    [(layers.Dense(4), True), (layers.Dense(4, activation="softmax"), False)],
)
def test_the_task_is_read_off_the_model(last, logits) -> None:
    model = keras.Sequential([keras.Input((3,)), last])
    assert infer_task(model, 4).heads[0].from_logits is logits
    assert infer_task(model, None).heads[0].kind == "regression"


def test_compile_settings_decide_the_task() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="softmax")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert infer_task(model, 4).heads[0].from_logits is True
    model.compile(loss="mse")
    with pytest.raises(UserError, match="compile it with a cross-entropy"):
        infer_task(model, 4)


@pytest.mark.parametrize("schedule", ["cosine", "step", "one_cycle", "constant"])
def test_schedules_climb_to_the_peak_and_do_not_rise_after(schedule) -> None:
    settings = Training(schedule=schedule, warmup_fraction=0.2, learning_rate=0.5)
    rates = [learning_rate(settings, step, 100) for step in range(100)]
    assert max(rates) == 0.5
    assert all(b > a for a, b in pairwise(rates[:20]))
    assert all(b <= a for a, b in pairwise(rates[20:]))


def test_a_loss_that_is_no_number_says_what_to_change(digits) -> None:
    with pytest.raises(UserError, match=r"lower training\.learning_rate"):
        train(net(), digits, CLASSIFY, course(optimizer="sgd", learning_rate=1e30), seed=0)


def test_a_checkpoint_of_another_course_is_left_alone(digits, tmp_path) -> None:
    train(net(), digits, CLASSIFY, course(epochs=1), seed=0, checkpoints=tmp_path)
    one, other = net(), net()
    train(one, digits, CLASSIFY, course(epochs=2), seed=0, checkpoints=tmp_path)
    train(other, digits, CLASSIFY, course(epochs=2), seed=0)
    assert same(one, other)


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_loop import *
model = net(dropout=0.3)
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
settings = course(epochs=6, checkpoint_steps=3, augmentation=Augmentation(shift=1), ema=0.9)
folder = Path(sys.argv[1])
train(model, data, CLASSIFY, settings, seed=0, checkpoints=folder)
model.save(folder / "done.keras")
"""


@pytest.mark.slow
def test_killed_and_resumed_training_ends_at_the_same_weights(tmp_path) -> None:
    script = KILLED.format(tests=str(Path(__file__).parent))

    def start(folder: Path) -> subprocess.Popen:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", script, str(folder)], stderr=subprocess.DEVNULL)

    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait() == 0
    for _ in range(2):
        process = start(cut)
        seen = _checkpoint_time(cut)
        while process.poll() is None and _checkpoint_time(cut) == seen:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(cut).wait() == 0
    one, other = (keras.saving.load_model(folder / "done.keras") for folder in (whole, cut))
    assert same(one, other)


def _checkpoint_time(folder: Path) -> int:
    file = folder / "checkpoint.npz"
    return file.stat().st_mtime_ns if file.exists() else 0


RANKS = """
import json, sys
sys.path.insert(0, {tests!r})
from dataclasses import asdict
from test_loop import *
from pocketkube.training.workers import workers
model = net(norm=False)
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
settings = course(epochs=2, augmentation=Augmentation(shift=1))
history = train(model, data, CLASSIFY, settings, seed=0)
if workers().rank == 0:
    Path(sys.argv[1]).write_text(json.dumps(asdict(history)))
"""


def needs_horovod(test):
    no_horovod, no_mpirun = find_spec("horovod") is None, shutil.which("mpirun") is None
    test = pytest.mark.skipif(no_horovod, reason="Horovod is missing: run make horovod")(test)
    test = pytest.mark.skipif(no_mpirun, reason="mpirun is missing: install openmpi-bin")(test)
    return pytest.mark.slow(test)


def run_ranks(ranks: int, script: str, output: Path) -> None:
    script = script.format(tests=str(Path(__file__).parent))
    command = [*mpirun_command(ranks), sys.executable, "-c", script, str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]


@needs_horovod
def test_two_ranks_follow_one(tmp_path) -> None:
    import json

    found = []
    for ranks in (1, 2):
        file = tmp_path / f"{ranks}.json"
        run_ranks(ranks, RANKS, file)
        found.append(json.loads(file.read_text()))
        assert found[-1]["workers"] == ranks
    for figure in ("loss", "val_loss", "score", "val_score"):
        np.testing.assert_allclose(found[1][figure], found[0][figure], rtol=1e-4, atol=1e-5)


FINISHED = """
import sys
sys.path.insert(0, {tests!r})
from test_loop import *
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.training.method import Method
from pocketkube.training.workers import workers
keras.utils.set_random_seed(0)
parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), FakeQuantize(8, "moving_average")]
model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Flatten(), layers.Dense(10)])
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))

class Last(Method):
    def finish(self):
        np.savez(Path(sys.argv[1]) / f"rank{{workers().rank}}.npz", *model.get_weights())

train(model, data, CLASSIFY, course(epochs=1), seed=0, method=Last())
"""


@needs_horovod
def test_ranks_finish_the_same_model(tmp_path) -> None:
    run_ranks(2, FINISHED, tmp_path)
    one, other = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
