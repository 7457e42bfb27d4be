"""Whatever labels are: refused when a task is settled, or good for all that follows."""

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from pocketkube.api.data import Splits
from pocketkube.data.dataset import Dataset, Examples, Labels
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.errors import UserError
from pocketkube.stages.configs import Learning
from pocketkube.stages.fitting import refuse_bad_streams
from pocketkube.stages.tasks import settled_task
from tests.fuzzing import fuzzed

COUNT = 15
RNG = np.random.default_rng(0)
X = RNG.random((COUNT, 6, 6, 2), np.float32)


@keras.saving.register_keras_serializable("test_fitting")
class Rows(layers.Layer):
    """Gives rows of three, and does not say how many."""

    def call(self, x):
        return tf.reshape(x, [tf.shape(x)[0], -1, 3])


ENDS = {
    "classes": lambda x: layers.Dense(3, activation="softmax")(layers.Flatten()(x)),
    "logits": lambda x: layers.Dense(3)(layers.Flatten()(x)),
    "unit": lambda x: layers.Dense(1)(layers.Flatten()(x)),
    "share": lambda x: layers.Dense(1, activation="sigmoid")(layers.Flatten()(x)),
    "map": lambda x: layers.Conv2D(3, 3, padding="same")(x),
    "mask": lambda x: layers.Conv2D(1, 3, padding="same", activation="sigmoid")(x),
    "sequence": lambda x: layers.Dense(3)(layers.Reshape((6, 12))(x)),
    "open": lambda x: Rows()(layers.Dense(6)(layers.Flatten()(x))),
    "matrix": lambda x: layers.Reshape((2, 3))(layers.Dense(6)(layers.Flatten()(x))),
}
LOSSES = (None, "mse", "sparse_categorical_crossentropy", "categorical_crossentropy")
SHAPES = [(), (1,), (2,), (3,), (6,), (2, 3), (3, 2), (6, 1), (6, 6), (6, 6, 1), (6, 6, 3), (36,)]
SHAPES += [(6, 3), (6, 2), (1, 3), (1, 1), (3, 1), (18,), (108,)]
NUMBERS = {
    "values": lambda shape: RNG.normal(size=shape),
    "shares": lambda shape: RNG.random(shape, np.float32),
    "whole": lambda shape: RNG.integers(0, 3, shape),
    "whole floats": lambda shape: RNG.integers(0, 3, shape).astype(np.float32),
    "binary": lambda shape: RNG.integers(0, 2, shape),
    "bool": lambda shape: RNG.random(shape) > 0.5,
    "huge": lambda shape: RNG.normal(size=shape) * 1e300,
    "ids": lambda shape: RNG.integers(0, 2**40, shape),
    "nan": lambda shape: np.full(shape, np.nan),
}


@cache
def network(end: str, loss: str | None) -> keras.Model:
    x = keras.Input((6, 6, 2))
    model = keras.Model(x, ENDS[end](x))
    if loss:
        model.compile(loss=loss)
    return model


@fuzzed(100)
@given(
    end=st.sampled_from(list(ENDS)),
    loss=st.sampled_from([*LOSSES, "binary_crossentropy"]),
    shape=st.sampled_from(SHAPES),
    numbers=st.sampled_from(list(NUMBERS)),
)
def test_labels_are_refused_at_once_or_good_for_all_that_follows(
    end: str, loss: str | None, shape: tuple[int, ...], numbers: str
) -> None:
    model, labels = network(end, loss), NUMBERS[numbers]((COUNT, *shape))
    try:
        data = in_memory_dataset("data", Labelled((X,), (labels,)), None, Splits(None), lambda x: x)
        task = settled_task(Learning(), model, data)
    except UserError:
        return
    assert data.test.arrays is not None
    (x,), labels = data.test.arrays
    outputs = model(x)
    tensors = [tf.constant(y) for y in labels]
    assert np.isfinite(task.loss(tensors, [outputs])).all()
    assert np.isfinite(task.score_of_all(tensors, [outputs]))
    # As a benchmark judges the file.
    task.measure.refuse_unfit(labels, [outputs.shape], "data", "file")
    kept = task.measure.kept([outputs.numpy()])
    assert np.isfinite(task.measure.judge(labels, kept, [outputs.shape]).score)


def streamed(x: np.ndarray, y: np.ndarray) -> Dataset:
    def open_examples() -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices(((x,), (y,)))

    labels = (Labels(3, shape=(), whole=(0, 2)),)
    split = Examples(COUNT, open_examples, None, labels)
    return Dataset("stream", ((6, 6, 2),), labels, split, split, split)


def test_what_is_not_in_memory_is_read_once_before_anything_is_done() -> None:
    model, classes = network("classes", None), np.arange(COUNT, dtype=np.int32) % 3
    good = streamed(X, classes)
    task = settled_task(Learning(), model, good)
    refuse_bad_streams(good, model, task)
    spoilt = X.copy()
    spoilt[4, 0] = np.inf
    with pytest.raises(UserError, match=r"^stream \(training\): inputs must be finite; 1 of 15 .* 4.$"):
        refuse_bad_streams(streamed(spoilt, classes), model, task)
    with pytest.raises(UserError, match=r"^stream \(training\): class numbers run from 1 to 7"):
        refuse_bad_streams(streamed(X, np.where(classes, classes, 7)), model, task)
