"""A batch that is computed in parts changes the weights as an undivided one does."""

from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.errors import UserError
from pocketkube.measures import Classes
from pocketkube.quantization.quantize import quantize
from pocketkube.spec.sections import DatasetSettings, Distillation, QuantizeWeights, Training
from pocketkube.training.class_heads import ClassHead
from pocketkube.training.course import Course
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.history import History
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.optimizer import build_optimizer
from pocketkube.training.step import train_step
from pocketkube.training.task import Task, infer_task
from pocketkube.training.values import values_of
from tests.training.test_loop import CLASSIFY, course, digits, net  # noqa: F401
from tests.training.test_workers import Ranked

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 1.0}


def step_of(
    model: keras.Model,
    dataset: Dataset,
    task: Task,
    settings: Training,
    workers: Ranked,
    method: Method | None = None,
    distillation: DistillationTerm | None = None,
) -> tuple[list[np.ndarray], np.ndarray]:
    """By how much a worker's step on the first rows changes the variables, and its figures."""
    method, distillation = method or Method(), distillation or DistillationTerm()
    extra = [*method.trained, *distillation.trained]
    optimizer = build_optimizer(model, extra, settings)
    made = Course(model, dataset, task, settings, 0, optimizer, method, distillation, None, "identity")
    before = values_of(made.trained)
    own = slice(workers.rank, made.batch_size, workers.size)
    inputs, labels = (
        tuple(tf.constant(array[own]) for array in arrays)
        for arrays in (dataset.train.arrays[0], dataset.train.arrays[1])
    )
    figures = train_step(made, workers)(inputs, labels).numpy()
    changes = [a - b for a, b in zip(values_of(made.trained), before, strict=True)]
    for variable, value in zip(made.trained, before, strict=True):
        variable.assign(value)
    return changes, figures


def assert_alike(one: list[np.ndarray], other: list[np.ndarray], rtol: float = 1e-4) -> None:
    assert any(np.abs(values).max() > 1e-3 for values in one)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * max(np.abs(a).max(), 1e-3))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_parts_and_workers_change_what_the_batch_does(digits, ranks: int) -> None:  # noqa: F811
    """Of 64 examples three workers have 22, 21 and 21, in four parts of 5 or 6."""
    model = net(norm=False)
    model.layers[0].kernel_regularizer = keras.regularizers.L2(0.01)
    whole, told = step_of(model, digits, CLASSIFY, course(**PLAIN), Ranked(0, 1))
    divided = course(**PLAIN, gradient_accumulation_steps=4)
    each = [step_of(model, digits, CLASSIFY, divided, Ranked(rank, ranks)) for rank in range(ranks)]
    assert_alike(whole, [np.mean(values, axis=0) for values in zip(*(c for c, _ in each), strict=True)])
    np.testing.assert_allclose(np.mean([figures for _, figures in each], axis=0), told, rtol=1e-5)


def test_levels_and_teachers_go_with_parts(digits) -> None:  # noqa: F811
    """Also what a method and a teacher train beside the model, in mixed precision's scale of losses."""
    dense, teacher = net(norm=False), Teacher("teacher", net(norm=False, seed=1), CLASSIFY)
    examples = [array[:64] for array in digits.train.arrays[0]]
    found = []
    for parts in (1, 3):
        quantized = quantize(dense, QuantizeWeights(weight_bits=4), examples, 0)
        settings = Distillation(weight=0.5, features_weight=0.1)
        term = FromTeachers(quantized.model, CLASSIFY, [teacher], settings, seed=0)
        made = course(**PLAIN, gradient_accumulation_steps=parts, clip_norm=1.0, mixed_precision=True)
        found.append(
            step_of(quantized.model, digits, CLASSIFY, made, Ranked(0, 1), quantized.method, term)
        )
    assert_alike(*(changes for changes, _ in found))
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


def test_training_in_parts_learns_what_training_does(digits, tmp_path) -> None:  # noqa: F811
    """Statistics and random states move on with each part."""
    one, other, again = net(norm=False), net(norm=False), net(dropout=0.3)
    histories = [
        train(model, digits, CLASSIFY, course(epochs=2, gradient_accumulation_steps=parts), seed=0)
        for model, parts in ((one, 1), (other, 5))
    ]
    np.testing.assert_allclose(histories[0].val_loss, histories[1].val_loss, rtol=1e-3)
    before = [np.asarray(v) for v in again.non_trainable_variables]
    train(again, digits, CLASSIFY, course(epochs=1, gradient_accumulation_steps=5), seed=0)
    for variable, value in zip(again.non_trainable_variables, before, strict=True):
        assert not np.array_equal(variable, value)


def test_heads_and_weights_of_examples_go_with_parts(tmp_path) -> None:
    inputs = keras.Input((4,))
    outputs = [layers.Dense(3, name="kind")(inputs), layers.Dense(1, name="value")(inputs)]
    model = keras.Model(inputs, outputs)
    losses = [keras.losses.SparseCategoricalCrossentropy(from_logits=True), "mse"]
    model.compile("sgd", losses, loss_weights=[1.0, 0.3])
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "data.npz",
        x=rng.normal(size=(80, 4)).astype("float32"),
        y0=rng.integers(0, 3, 80),
        y1=rng.normal(size=80).astype("float32"),
        sample_weight=rng.uniform(size=80).astype("float32"),
    )
    data = load_dataset(DatasetSettings(npz=str(tmp_path / "data.npz")))
    task = replace(infer_task(model, *data.labels), weighted=2)
    (one, told), (other, figures) = (
        step_of(model, data, task, course(**PLAIN, gradient_accumulation_steps=parts), Ranked(0, 1))
        for parts in (1, 7)
    )
    assert_alike(one, other)
    np.testing.assert_allclose(figures, told, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "ranks", "named"),
    [
        ({"gradient_accumulation_steps": 2}, 1, "gradient_accumulation_steps: .*; received 2"),
        ({}, 3, "workers: .*; received 3"),
    ],
)
def test_a_loss_over_the_sum_of_weights_goes_with_whole_batches_alone(
    digits,  # noqa: F811
    settings: dict[str, int],
    ranks: int,
    named: str,
) -> None:
    model = net(norm=False)
    loss = keras.losses.SparseCategoricalCrossentropy(True, reduction="mean_with_sample_weight")
    head = ClassHead("output", Classes(), loss, num_classes=10, class_weights=(2.0,) * 10)
    task, workers = Task((head,), "of digits"), Ranked(0, ranks)
    with pytest.raises(UserError, match=f"training.{named}"):
        train(model, digits, task, course(**settings), seed=0, workers=lambda: workers)


def test_a_loss_over_the_sum_of_weights_has_those_of_examples_or_of_classes(digits) -> None:  # noqa: F811
    loss = keras.losses.SparseCategoricalCrossentropy(True, reduction="mean_with_sample_weight")
    head = ClassHead("output", Classes(), loss, num_classes=10, class_weights=(2.0,) * 10)
    task = replace(Task((head,), "of digits"), weighted=1)
    with pytest.raises(UserError, match="multiply each example's weight by its class's"):
        train(net(norm=False), digits, task, course(), seed=0)


def tokens(like: Dataset) -> tuple[keras.Model, Dataset, Task]:
    """Sentences of 1 to 8 tokens, which are to be said again."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, size=256)
    given = np.where(np.arange(8) < lengths[:, None], rng.integers(1, 6, (256, 8)), 0).astype("int32")
    split = examples_of_arrays((given,), (given,), ())
    keras.utils.set_random_seed(0)
    parts = [keras.Input((8,), dtype="int32"), layers.Embedding(6, 4), layers.Dense(6)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    head = ClassHead("output", Classes(ignore=0), loss, num_classes=6)
    data = replace(like, train=split, validation=split)
    return keras.Sequential(parts), data, Task((head,), "of tokens")


def tokens_course(like: Dataset) -> History:
    model, data, task = tokens(like)
    return train(model, data, task, course(epochs=2, gradient_accumulation_steps=3), seed=0)


def taught_by(model: keras.Model, task: Task) -> tuple[keras.Model, FromTeachers]:
    """A network that says something else, and what it teaches."""
    other = keras.models.clone_model(model)
    for variable in other.trainable_variables:
        variable.assign_add(tf.random.stateless_normal(variable.shape, seed=(0, 0)))
    settings = Distillation(weight=0.7)
    return other, FromTeachers(model, task, [Teacher("teacher", other, task)], settings, seed=0)


@pytest.mark.parametrize("are_taught", [False, True])
def test_every_token_counts_the_same_in_whatever_part_it_is(
    digits,  # noqa: F811
    are_taught: bool,
) -> None:
    """Sentences differ in length, and so do parts in the number of their tokens."""
    model, data, task = tokens(digits)
    settings, term = course(**PLAIN, gradient_accumulation_steps=3), None
    if are_taught:
        _, term = taught_by(model, task)
    one = Ranked(0, 1)
    whole, told = step_of(model, data, task, course(**PLAIN), one, distillation=term)
    divided, figures = step_of(model, data, task, settings, one, distillation=term)
    assert_alike(whole, divided)
    np.testing.assert_allclose(figures, told, rtol=1e-5)


def test_teachers_teach_every_token_alike_and_no_padding(digits) -> None:  # noqa: F811
    """The loss is that of all tokens in one row, whichever sentence they are of."""
    model, data, task = tokens(digits)
    other, term = taught_by(model, task)
    _, figures = step_of(model, data, task, course(**PLAIN), Ranked(0, 1), distillation=term)
    ((given,), _) = data.train.arrays
    given = given[:64]
    kept = given.ravel() != 0
    ours, theirs = (np.asarray(each(given), np.float64).reshape(-1, 6)[kept] for each in (model, other))
    labels = given.ravel()[kept]
    loss = -np.mean(log_softmax(ours)[np.arange(len(labels)), labels])
    wanted, said = log_softmax(theirs / 4), log_softmax(ours / 4)
    distance = 16 * np.mean(np.sum(np.exp(wanted) * (wanted - said), axis=1))
    assert figures[0] == pytest.approx(0.3 * loss + 0.7 * distance, rel=1e-5)


def log_softmax(values: np.ndarray) -> np.ndarray:
    shifted = values - values.max(axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
