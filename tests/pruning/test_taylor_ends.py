"""Criteria that look at examples see a unit wherever it ends: what no reader looks at goes first."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import pocketkube as pk
from pocketkube.errors import UserError
from pocketkube.graph.dependency import trace_channels
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.taylor import taylor_scores
from pocketkube.pruning.pruner import Pruner
from pocketkube.training.task import infer_task

RNG = np.random.default_rng(0)


def end(x: keras.KerasTensor) -> keras.KerasTensor:
    axes = tuple(range(1, len(x.shape) - 1))
    return layers.Dense(3)(ops.mean(x, axis=axes) if axes else x)


def blind(kernel: keras.Variable, axis: int) -> None:
    """Lets a layer not look at the first half of what it reads along an axis of its kernel."""
    value = np.moveaxis(np.array(kernel), axis, 0)
    value[: len(value) // 2] = 0
    kernel.assign(np.moveaxis(value, 0, axis))


def separable() -> keras.Model:
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="made")(image)
    reader = layers.SeparableConv2D(8, 3, depth_multiplier=2)
    model = keras.Model(image, end(reader(x)))
    blind(reader.depthwise_kernel, 2)
    return model


def cross_attention() -> keras.Model:
    """The units are keys and values; the queries are another input."""
    queries, rows = keras.Input((5, 8)), keras.Input((7, 6))
    x = layers.Dense(16, activation="relu", name="made")(rows)
    reader = layers.MultiHeadAttention(2, 8, name="attention")
    model = keras.Model([queries, rows], end(reader(queries, x)))
    for weight in model.get_layer("attention").weights:
        if "key/kernel" in weight.path or "value/kernel" in weight.path:
            blind(weight, 0)
    return model


def products() -> keras.Model:
    """The units are queries that are multiplied with keys, of which half are nothing."""
    rows = keras.Input((5, 8))
    queries = layers.Dense(16, name="made")(rows)
    keys = layers.Dense(16, use_bias=False, name="keys")(rows)
    scores = ops.softmax(ops.matmul(queries, ops.transpose(keys, (0, 2, 1))))
    model = keras.Model(rows, end(ops.matmul(scores, layers.Dense(6)(rows))))
    blind(model.get_layer("keys").kernel, 1)
    return model


def mixed_places(channels: int) -> Callable[[], keras.Model]:
    """The units lie along the axis of places, as in an MLP-Mixer."""

    def made() -> keras.Model:
        rows = keras.Input((6, channels))
        make = layers.EinsumDense("btc,ts->bsc", (16, channels), bias_axes="s", name="made")
        reader = layers.EinsumDense("bsc,st->btc", (6, channels), bias_axes="t")
        x = layers.ReLU()(make(rows))
        model = keras.Model(rows, end(layers.Add()([rows, reader(x)])))
        blind(reader.kernel, 0)
        return model

    return made


MIXERS = {
    "as many channels": mixed_places(16),
    "more channels": mixed_places(20),
    "fewer channels": mixed_places(12),
}
READERS = {
    "separable": separable,
    "cross-attention": cross_attention,
    "products": products,
    **MIXERS,
}


@pytest.mark.parametrize(
    ("name", "criterion"),
    [*((name, "taylor") for name in READERS), *((name, "lasso") for name in MIXERS)],
)
def test_units_that_nobody_looks_at_go_first(name: str, criterion: str) -> None:
    keras.utils.set_random_seed(0)
    model = READERS[name]()
    inputs = [RNG.normal(size=(64, *x.shape[1:])).astype("float32") for x in model.inputs]
    labels = (RNG.integers(0, 3, 64).astype("int32"),)
    calibration = Calibration(tuple(inputs), labels, loss=infer_task(model, 3).loss)
    pruner = Pruner(model, criterion=criterion, calibration=calibration, reconstruct=False, round_to=1)
    (group,) = (each for each in pruner.costs.groups if "made" in each.layers)
    pruned = pruner.to_counts({group.name: group.size // 2})
    given = inputs if len(inputs) > 1 else inputs[0]
    wanted, found = (each.predict(given, verbose=0) for each in (model, pruned.model))
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_layer_whose_output_is_added_to_what_it_reads_counts() -> None:
    """Both have the same units, and yet the layer mixes them."""
    keras.utils.set_random_seed(0)
    rows = keras.Input((6,))
    make, inner, head = (layers.Dense(n) for n in (8, 8, 3))
    made = make(rows)
    model = keras.Model(rows, head(layers.Add()([made, inner(made)])))
    inputs = RNG.normal(size=(32, 6)).astype("float32")
    labels = RNG.integers(0, 3, 32).astype("int32")
    loss = infer_task(model, 3).loss
    with tf.GradientTape() as tape:
        stream = make(inputs)
        read = tf.identity(stream)
        tape.watch(read)
        added = stream + inner(read)
        wrong = tf.reduce_sum(loss([labels], head(added)))
    of_read, of_added = tape.gradient(wrong, [read, added])
    wanted = tf.reduce_mean((read * of_read + added * of_added) ** 2, axis=0)
    graph = trace_channels(model)
    found = taylor_scores(model, graph, Calibration((inputs,), (labels,), loss=loss))
    np.testing.assert_allclose(np.sort(found), np.sort(wanted), rtol=1e-4)


def beside_classes(*, values: bool) -> keras.Model:
    """Gives the number of the likeliest class, and maybe values beside it."""
    row = keras.Input((6,))
    shares = layers.Dense(4)(layers.Dense(32, activation="relu", name="of_class")(row))
    likeliest = ops.argmax(shares, axis=-1)
    value = layers.Dense(1)(layers.Dense(32, activation="relu", name="of_value")(row))
    return keras.Model(row, [likeliest, value] if values else likeliest, name="picks")


def test_a_network_without_gradients_needs_another_criterion() -> None:
    rows = RNG.normal(size=(32, 6)).astype("float32")
    model = beside_classes(values=False)
    with pytest.raises(
        UserError, match=r"^The criterion taylor .* of picks there are none: .* as argmax; use l1, l2"
    ):
        pk.prune(model, speedup=1.3, data=rows)
    assert pk.prune(model, speedup=1.3, data=rows, criterion="l2").speedup >= 1.3


def test_what_has_no_score_is_named_where_a_target_cannot_be_reached() -> None:
    rows = RNG.normal(size=(32, 6)).astype("float32")
    with pytest.raises(
        UserError, match=r"raise max_ratio\. The criterion has no score for of_class: all stay\. "
    ):
        pk.prune(beside_classes(values=True), speedup=5, data=rows)
