import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset, Labels
from pocketkube.errors import UserError
from pocketkube.spec.sections import Augmentation, DatasetSettings, FineTune, Training
from pocketkube.stages.assessment import costs_of, stage_facts
from pocketkube.stages.training import fine_tuning
from pocketkube.training.evaluation import evaluate
from pocketkube.training.history import History
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.schedules import learning_rate
from pocketkube.training.task import infer_task
from tests.mpirun import mpirun_command
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
        {"optimizer": "lars", "learning_rate": 10.0, "weight_decay": 1e-4},
        {"optimizer": "lamb"},
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
    kept = history.kept_epoch - 1
    assert history.val_score[kept] == pytest.approx(after.score)
    # With mixed precision the epochs were judged in float16.
    precision = 1e-3 if changes.get("mixed_precision") else 1e-5
    assert history.val_loss[kept] == pytest.approx(after.loss, rel=precision)
    assert len(history.loss) == epochs
    assert history.loss[-1] < history.loss[0]
    assert all(str(layer.dtype_policy.name) == "float32" for layer in model.layers)


# The rate climbs until nothing is left of what was learnt.
CLIMBING = {"epochs": 5, "optimizer": "sgd", "learning_rate": 3.0, "warmup_fraction": 0.95}


@pytest.mark.parametrize("changes", [{}, {"ema": 0.8}])
def test_an_epoch_that_did_better_than_the_last_is_kept(digits, changes) -> None:
    """Its weights and statistics are those that gave its score, as Keras computes it."""
    model = net()
    history = train(model, digits, CLASSIFY, course(**CLIMBING, **changes), seed=0)
    kept = history.val_score[history.kept_epoch - 1]
    assert kept > history.val_score[-1] + 0.1
    (images,), (labels,) = digits.validation.arrays
    right = model.predict(images, verbose=0).argmax(axis=1) == labels
    assert right.mean() == pytest.approx(kept, abs=1e-6)


def test_the_last_epoch_is_kept_where_that_is_asked_for(digits) -> None:
    models = [net() for _ in range(2)]
    histories = [
        train(model, digits, CLASSIFY, course(**CLIMBING, keep=keep), seed=0)
        for model, keep in zip(models, ("best", "last"), strict=True)
    ]
    assert histories[0].val_score == histories[1].val_score
    assert histories[1].kept_epoch == 5
    last = evaluate(models[1], digits.validation, CLASSIFY)
    assert last.score == pytest.approx(histories[1].val_score[-1])
    assert not same(*models)


class Stops(Exception):
    pass


class Stopping(Method):
    """Ends training before a step, as an interruption does."""

    fingerprint = "interrupted"

    def __init__(self, at: int | None) -> None:
        self._at = at

    def before_step(self, step, steps, optimizer) -> None:
        if step == self._at:
            raise Stops


@pytest.mark.parametrize("changes", [{}, {"ema": 0.8}])
def test_the_kept_epoch_outlasts_an_interruption(digits, tmp_path, changes) -> None:
    """Whether training goes on from the last epoch's end, from within one, or has ended."""
    settings = course(**CLIMBING, **changes, checkpoint_steps=7)
    whole, cut = net(), None
    wanted = train(whole, digits, CLASSIFY, settings, seed=0, method=Stopping(None))
    assert wanted.kept_epoch < 5
    steps = digits.train.size // 64
    for at in (steps * wanted.kept_epoch, 5 * steps - 1):
        with pytest.raises(Stops):
            train(net(), digits, CLASSIFY, settings, seed=0, method=Stopping(at), checkpoints=tmp_path)
    for _ in range(2):
        cut = net()
        history = train(
            cut, digits, CLASSIFY, settings, seed=0, method=Stopping(None), checkpoints=tmp_path
        )
        assert same(whole, cut)
        assert history.val_score == wanted.val_score
        assert history.kept_epoch == wanted.kept_epoch


def test_the_time_before_an_interruption_counts(digits, tmp_path, monkeypatch) -> None:
    """By a clock that each process starts anew, and that goes on by a second a step."""
    passed = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: passed[0])

    class Slow(Stopping):
        def before_step(self, step, steps, optimizer) -> None:
            super().before_step(step, steps, optimizer)
            passed[0] += 1

    settings, steps = course(epochs=2, checkpoint_steps=7), digits.train.size // 64
    with pytest.raises(Stops):
        train(net(), digits, CLASSIFY, settings, seed=0, method=Slow(steps + 9), checkpoints=tmp_path)
    for beyond in (1000.0, 2000.0):
        passed[0] = beyond
        history = train(
            net(), digits, CLASSIFY, settings, seed=0, method=Slow(None), checkpoints=tmp_path
        )
        # The two steps after its last checkpoint are not counted twice.
        assert history.seconds == 2 * steps
        stage = stage_facts("train_model", (), CLASSIFY, costs_of(net()), beyond, history=history)
        assert stage.seconds == 2 * steps


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
        infer_task(model, Labels(4, shape=()))


@pytest.mark.parametrize(
    "schedule", ["cosine", "step", "exponential", "one_cycle", "inverse_sqrt", "constant"]
)
def test_schedules_climb_to_the_peak_and_do_not_rise_after(schedule) -> None:
    settings = Training(schedule=schedule, warmup_fraction=0.2, learning_rate=0.5)
    rates = [learning_rate(settings, step, 100, 128) for step in range(100)]
    assert max(rates) == 0.5
    assert all(b > a for a, b in pairwise(rates[:20]))
    assert all(b <= a for a, b in pairwise(rates[20:]))


def test_the_inverse_square_root_is_that_of_the_paper() -> None:
    """Vaswani et al. (2017), equation 3, for 512 numbers a token and a warm-up of 20 steps."""
    peak = 512**-0.5 * 20**-0.5
    settings = Training(schedule="inverse_sqrt", warmup_fraction=0.2, learning_rate=peak)
    for step in range(1, 101):
        wanted = 512**-0.5 * min(step**-0.5, step * 20**-1.5)
        assert learning_rate(settings, step - 1, 100, 128) == pytest.approx(wanted, rel=1e-12)


def test_tenths_are_taken_at_epochs_30_60_and_80_of_90() -> None:
    parts = (0.333, 0.666, 0.888)
    settings = Training(
        epochs=90, schedule="step", schedule_steps=parts, learning_rate=0.1, warmup_fraction=0
    )
    rates = [learning_rate(settings, 100 * epoch, 9000, 128) for epoch in range(90)]
    wanted = [0.1] * 30 + [0.01] * 30 + [0.001] * 20 + [0.0001] * 10
    assert rates == pytest.approx(wanted)


def test_mobilenets_rate_falls_by_two_in_a_hundred_with_each_epoch() -> None:
    settings = Training(epochs=300, schedule="exponential", learning_rate=0.045, warmup_fraction=0)
    rates = [learning_rate(settings, step, 3000, 128) for step in range(3000)]
    assert rates == pytest.approx([0.045 * 0.98 ** (step // 10) for step in range(3000)])


def test_the_rate_is_in_proportion_to_the_batch_where_it_is_meant_for_another() -> None:
    """As Goyal et al. (2017) scale ImageNet's 0.1 for 256 images; stages' own rates, too."""
    settings = Training(learning_rate=0.1, learning_rate_batch=256, batch_size=8192, schedule="cosine")
    tuned = fine_tuning(settings, FineTune(learning_rate=0.05))
    # No batch has more examples than there are.
    for each, size, peak in ((settings, 8192, 3.2), (tuned, 8192, 1.6), (settings, 640, 0.25)):
        rates = [learning_rate(each, step, 100, size) for step in range(100)]
        assert rates[0] == pytest.approx(peak / 20)
        assert max(rates) == rates[20] == pytest.approx(peak)


def test_a_loss_that_is_no_number_says_what_to_change(digits) -> None:
    with pytest.raises(UserError, match=r"lower training\.learning_rate"):
        train(net(), digits, CLASSIFY, course(optimizer="sgd", learning_rate=1e30), seed=0)


def overflowing() -> keras.Model:
    """Its sums are beyond what 16 bits hold, and within what 32 do."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(16, kernel_initializer=keras.initializers.Constant(1e4)),
            layers.Dense(10, kernel_initializer=keras.initializers.Constant(1e-6)),
        ]
    )


def test_a_loss_that_is_no_number_is_refused_with_mixed_precision(digits) -> None:
    settings = course(epochs=1, learning_rate=1e-9)
    train(overflowing(), digits, CLASSIFY, settings, seed=0)
    with pytest.raises(UserError, match=r"loss is no number at step 0: .*mixed_precision: false"):
        train(
            overflowing(),
            digits,
            CLASSIFY,
            settings.model_copy(update={"mixed_precision": True}),
            seed=0,
        )


class NoNumbers(Method):
    """Spoils the gradients from a step on, as an overflow on the way back does."""

    fingerprint = "no numbers"

    def __init__(self, since: int) -> None:
        self._since, self._step = since, tf.Variable(0, trainable=False)

    def before_step(self, step, steps, optimizer) -> None:
        self._step.assign(step)

    def gradients(self, gradients, variables):
        spoiled = tf.where(self._step >= self._since, np.float32(np.inf), 1.0)
        return [g * tf.cast(spoiled, g.dtype) for g in gradients]


@pytest.mark.parametrize(("since", "epochs", "steps"), [(0, 1, "20"), (0, 3, "32"), (20, 4, "32")])
def test_steps_that_mixed_precision_leaves_out_are_counted(digits, since, epochs, steps) -> None:
    settings = course(epochs=epochs, mixed_precision=True)
    with pytest.raises(UserError, match=rf"gradients of {steps} steps in a row .* nothing is learnt"):
        train(net(), digits, CLASSIFY, settings, seed=0, method=NoNumbers(since))


def test_a_few_steps_left_out_are_no_fault(digits) -> None:
    settings = course(epochs=3, mixed_precision=True)
    history = train(net(), digits, CLASSIFY, settings, seed=0, method=NoNumbers(20 * 3 - 5))
    assert len(history.loss) == 3


def test_weights_that_are_no_numbers_are_refused(digits) -> None:
    """Training does not look at BatchNorm's statistics: its loss stays finite."""

    class Spoiling(Method):
        def before_step(self, step, steps, optimizer) -> None:
            if step == 16:
                model.layers[1].moving_variance.assign([np.nan] * 8)

    model = net()
    with pytest.raises(UserError, match=r"moving_variance is no number after 20 steps: lower"):
        train(model, digits, CLASSIFY, course(), seed=0, method=Spoiling())


@pytest.mark.parametrize("spoil", ["empty", "half", "one byte", "no archive"])
def test_a_damaged_checkpoint_is_said_and_training_begins_anew(
    digits, tmp_path, capsys, spoil: str
) -> None:
    whole, again = net(), net()
    train(whole, digits, CLASSIFY, course(epochs=1), seed=0, checkpoints=tmp_path)
    (file,) = tmp_path.glob("checkpoint-*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    spoilt = {"empty": b"", "half": content[: len(content) // 2], "no archive": b"x" * 1000}
    file.write_bytes(spoilt.get(spoil, content))
    train(again, digits, CLASSIFY, course(epochs=1), seed=0, checkpoints=tmp_path)
    assert capsys.readouterr().err.count(f"{file} is damaged: this training begins anew") == 1
    for ours, theirs in zip(again.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(errno.EIO, "Input/output error"), PermissionError(errno.EACCES, "no")],
)
def test_a_checkpoint_that_cannot_be_read_is_not_taken_for_a_damaged_one(
    digits, tmp_path, monkeypatch, error: Exception
) -> None:
    train(net(), digits, CLASSIFY, course(epochs=1), seed=0, checkpoints=tmp_path)
    (file,) = tmp_path.glob("checkpoint-*.npz")
    content = file.read_bytes()

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("numpy.load", fails)
    with pytest.raises(type(error)):
        train(net(), digits, CLASSIFY, course(epochs=1), seed=0, checkpoints=tmp_path)
    assert file.read_bytes() == content


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
    return max((file.stat().st_mtime_ns for file in folder.glob("checkpoint-*.npz")), default=0)


RANKS = """
import json, sys
sys.path.insert(0, {tests!r})
from dataclasses import asdict
from test_loop import *
from pocketkube.processes.ranks import started_first
folder, *courses = sys.argv[1:]
data = load_dataset(DatasetSettings(builtin="digits", image_size=(8, 8)))
for name in courses:
    history = globals()[name](data)
    if started_first():
        Path(folder, name + ".json").write_text(json.dumps(asdict(history)))
"""


def shared_course(data: Dataset) -> History:
    settings = course(**CLIMBING | {"learning_rate": 0.5}, augmentation=Augmentation(shift=1))
    return train(net(norm=False), data, CLASSIFY, settings, seed=0)


def normalized_course(data: Dataset, parts: int = 1) -> History:
    settings = course(epochs=2, sync_batch_norm=True, gradient_accumulation_steps=parts)
    return train(net(), data, CLASSIFY, settings, seed=0)


def normalized_course_in_parts(data: Dataset) -> History:
    return normalized_course(data, parts=2)


def course_on_tokens(data: Dataset) -> History:
    from tests.training.test_parts import tokens_course

    return tokens_course(data)


def needs_horovod(test):
    no_horovod, no_mpirun = find_spec("horovod") is None, shutil.which("mpirun") is None
    test = pytest.mark.skipif(no_horovod, reason="Horovod is missing: run make horovod")(test)
    test = pytest.mark.skipif(no_mpirun, reason="mpirun is missing: install openmpi-bin")(test)
    return pytest.mark.slow(test)


def run_ranks(ranks: int, script: str, folder: Path, *courses: str) -> None:
    script = script.format(tests=str(Path(__file__).parent))
    command = [*mpirun_command(ranks), sys.executable, "-c", script, str(folder), *courses]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def by_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The courses of three ranks, which share the 64 examples of a batch unevenly."""
    folder = tmp_path_factory.mktemp("three")
    run_ranks(3, RANKS, folder, "shared_course", "normalized_course")
    return folder


@pytest.fixture(scope="module")
def by_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The courses of two ranks, and what each has in the end."""
    folder = tmp_path_factory.mktemp("two")
    run_ranks(2, RANKS + FINISHED, folder, "normalized_course_in_parts", "course_on_tokens")
    return folder


def histories(folder: Path, of: Callable[[Dataset], History], data: Dataset) -> tuple[dict, dict]:
    """A course of several ranks, and the same of one."""
    return json.loads((folder / f"{of.__name__}.json").read_text()), asdict(of(data))


def assert_same_figures(several: dict, one: dict) -> None:
    for figure in ("loss", "val_loss", "score", "val_score"):
        np.testing.assert_allclose(several[figure], one[figure], rtol=1e-4, atol=1e-5)


@needs_horovod
def test_ranks_follow_one(digits, by_three: Path) -> None:
    three, one = histories(by_three, shared_course, digits)
    assert_same_figures(three, one)
    assert (one["workers"], three["workers"]) == (1, 3)
    assert three["kept_epoch"] == one["kept_epoch"]


@needs_horovod
def test_statistics_are_those_of_all_ranks(digits, by_three: Path) -> None:
    assert_same_figures(*histories(by_three, normalized_course, digits))


@needs_horovod
def test_ranks_compute_their_parts_together(digits, by_two: Path) -> None:
    """Statistics are of a part of all ranks; tokens count the same, whoever has more of them."""
    in_parts = json.loads((by_two / "normalized_course_in_parts.json").read_text())
    assert in_parts["val_score"][-1] > 0.8
    assert_same_figures(*histories(by_two, course_on_tokens, digits))


FINISHED = """
from pocketkube.quantization.fake_quantize import FakeQuantize
keras.utils.set_random_seed(0)
parts = [layers.Conv2D(4, 3), layers.BatchNormalization(), FakeQuantize(8, "moving_average")]
model = keras.Sequential([keras.Input((8, 8, 1)), *parts, layers.Flatten(), layers.Dense(10)])

class Last(Method):
    def has_final_form(self, step, steps):
        # So that an earlier epoch is kept.
        return step < steps

    def finish(self):
        np.savez(Path(folder) / f"rank{{int(not started_first())}}.npz", *model.get_weights())

history = train(model, data, CLASSIFY, course(epochs=2), seed=0, method=Last())
assert history.kept_epoch == 1
"""


@needs_horovod
def test_ranks_finish_the_same_model(by_two: Path) -> None:
    one, other = (np.load(by_two / f"rank{rank}.npz") for rank in (0, 1))
    for name in one.files:
        np.testing.assert_array_equal(one[name], other[name])
