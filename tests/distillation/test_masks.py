"""What Keras's masks leave out counts in no term of distillation, as it does not in the task's loss."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data.dataset import Labels
from pocketkube.distillation import FromTeachers, Teacher
from pocketkube.distillation.terms import attention_distance, feature_distance
from pocketkube.measures import Classes, MultiLabel, Values
from pocketkube.spec.sections import Distillation
from pocketkube.training.heads import ClassHead, MultiLabelHead, ValueHead
from pocketkube.training.task import infer_task

RNG = np.random.default_rng(0)
WORDS = np.array([[1, 2, 0, 0, 0, 0], [3, 4, 5, 6, 0, 0]], np.int32)
REAL = WORDS != 0


def tagger(seed: int, units: int = 3, length: int | None = 6) -> keras.Model:
    keras.utils.set_random_seed(seed)
    given = keras.Input((length,), dtype="int32")
    x = layers.Embedding(20, 8, mask_zero=True)(given)
    x = layers.Dense(5, activation="relu", name="seen")(x)
    model = keras.Model(given, layers.Dense(units, name="tags")(x))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def log_softmax(z: np.ndarray) -> np.ndarray:
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def divergence(wanted: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Of two log-distributions, `T` being 1."""
    return (np.exp(wanted) * (wanted - log_softmax(z))).sum(-1)


def as_two(z: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(z), z], axis=-1)


def test_classes_are_compared_where_the_mask_lets_them_through() -> None:
    outputs = tagger(0)(WORDS)
    wanted = log_softmax(RNG.normal(size=(2, 6, 3))).astype("float32")
    task = infer_task(tagger(0), Labels(3, shape=(6,), whole=(0, 2)))
    found = task.distance_to(outputs, [wanted], 1.0, (np.zeros((2, 6), int),))
    assert found.shape == (2,)
    of_each = divergence(wanted, outputs.numpy())
    np.testing.assert_allclose(np.mean(found), of_each[REAL].mean(), rtol=1e-5)
    assert np.mean(found) != pytest.approx(of_each.mean(), rel=0.01)


def test_labels_that_do_not_count_and_masks_leave_out_each_their_own() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2)
    head = ClassHead("tags", Classes(ignore=2), loss, num_classes=3)
    labels = RNG.integers(0, 3, (2, 6))
    outputs = tagger(0)(WORDS)
    wanted = log_softmax(RNG.normal(size=(2, 6, 3))).astype("float32")
    found = head.distance_to(outputs, wanted, 1.0, labels).numpy()
    share = head.counted(labels, outputs).numpy()
    counted = REAL & (labels != 2)
    assert 0 < counted.sum() < REAL.sum()
    # As a step of training weighs them.
    np.testing.assert_allclose(
        np.mean(found * share / share.mean()),
        divergence(wanted, outputs.numpy())[counted].mean(),
        rtol=1e-5,
    )


def test_what_is_left_out_adds_nothing_to_a_sum() -> None:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=2, reduction="sum")
    head = ClassHead("tags", Classes(ignore=2), loss, num_classes=3)
    labels = RNG.integers(0, 3, (2, 6))
    outputs = tagger(0)(WORDS)
    wanted = log_softmax(RNG.normal(size=(2, 6, 3))).astype("float32")
    found = head.distance_to(outputs, wanted, 1.0, labels).numpy()
    counted = REAL & (labels != 2)
    assert 0 < counted.sum() < REAL.sum()
    of_each = divergence(wanted, outputs.numpy())
    np.testing.assert_allclose(np.mean(found), of_each[counted].sum(), rtol=1e-5)


def test_several_labels_and_values_are_compared_there_too() -> None:
    outputs = tagger(0)(WORDS)
    numbers = outputs.numpy()
    said = RNG.normal(size=(2, 6, 3)).astype("float32")
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    labels = MultiLabelHead("tags", MultiLabel(), loss, num_classes=3)
    wanted = log_softmax(as_two(said)).astype("float32")
    np.testing.assert_allclose(
        np.mean(labels.distance_to(outputs, wanted, 1.0)),
        divergence(wanted, as_two(numbers)).mean(-1)[REAL].mean(),
        rtol=1e-5,
    )
    values = ValueHead("tags", Values(), keras.losses.MeanSquaredError())
    np.testing.assert_allclose(
        np.mean(values.distance_to(outputs, said, 1.0)),
        ((numbers - said) ** 2).mean(-1)[REAL].mean(),
        rtol=1e-5,
    )


@pytest.mark.parametrize("both", [True, False])
def test_features_are_compared_there_too(both: bool) -> None:
    def features(units: int, *, masked: bool) -> Any:
        given = RNG.normal(size=(1, 6, units)).astype("float32")
        # A position of nothing but zeros is masked: they become ones.
        given[:, 4:] *= not masked
        return layers.Activation(lambda x: x + 1)(layers.Masking()(given)) if masked else given

    student, teacher = features(3, masked=True), features(5, masked=both)
    kernel, bias = RNG.normal(size=(3, 5)).astype("float32"), np.ones(5, "float32")
    for distance, more in ((feature_distance, (kernel, bias)), (attention_distance, ())):
        found = distance(student, teacher, *more)
        cut = [np.asarray(each)[:, :4] for each in (student, teacher)]
        np.testing.assert_allclose(found, distance(*cut, *more), rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        Distillation(weight=1.0),
        Distillation(weight=0.0, features_weight=1.0, layers={"seen": "seen"}),
        Distillation(weight=0.0, attention_weight=1.0, layers={"seen": "seen"}),
    ],
)
def test_what_teachers_add_does_not_follow_from_how_far_examples_are_padded(settings) -> None:
    task = infer_task(tagger(0), Labels(3, shape=(6,), whole=(0, 2)))

    def added(words: np.ndarray) -> float:
        length = words.shape[1]
        student = tagger(1, length=length)
        teacher = Teacher("other", tagger(0, length=length), task)
        term = FromTeachers(student, task, [teacher], settings, seed=0)
        labels, answers = term.answers((words,), (np.zeros(words.shape, int),))
        outputs, seen = term.observe(student, words, training=False)
        return float(np.mean(term.terms(outputs, seen, answers, labels)))

    padded, whole = added(np.array([[3, 4, 5, 6, 0, 0]])), added(np.array([[3, 4, 5, 6]]))
    assert whole > 0.001
    assert padded == pytest.approx(whole, rel=1e-5)
