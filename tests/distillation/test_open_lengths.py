"""Students and teachers that take inputs of any length learn and teach as those of one length do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import pocketkube as pk
from pocketkube.distillation.terms import attention_distance, feature_distance

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(120, 8, 4)).astype("float32"), np.arange(120) % 2


def net(filters: int, length: int | None = None, *, each: bool = False) -> keras.Model:
    keras.utils.set_random_seed(filters)
    given = keras.Input((length, 4), name="series")
    x = layers.Conv1D(filters, 3, padding="same", activation="relu", name="first")(given)
    if not each:
        x = layers.Conv1D(filters, 3, 2, padding="same", activation="relu", name="second")(x)
        x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model(given, layers.Dense(2)(x), name="net")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


@pytest.mark.parametrize("term", ["features_weight", "attention_weight"])
def test_features_are_compared_at_the_length_of_the_data(term: str) -> None:
    settings = {"epochs": 2, "distillation": {term: 1.0}, "training": {"batch_size": 32}}
    tuned, fixed = (
        pk.fine_tune(net(4, length), (X, Y), teacher=net(6, length), **settings) for length in (None, 8)
    )
    assert any("first with first, second with second" in each for each in tuned.remarks)
    assert tuned.steps[-1].history.loss == pytest.approx(fixed.steps[-1].history.loss, rel=1e-4)


def test_outputs_of_any_length_are_learnt_from() -> None:
    tags = RNG.integers(0, 2, (120, 8))
    settings = {"epochs": 2, "distillation": {"weight": 0.9}, "training": {"batch_size": 32}}
    losses = [
        pk.distil(net(4, length, each=True), (X, tags), teacher=net(6, each=True), **settings)
        .steps[-1]
        .history.loss
        for length in (None, 8)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@keras.saving.register_keras_serializable("test_open_lengths")
class Rows(layers.Layer):
    """Reads positions as rows of two; how many they are, it does not say before there are any."""

    def call(self, x):
        return tf.reshape(x, [tf.shape(x)[0], -1, 2])


@keras.saving.register_keras_serializable("test_open_lengths")
class Sounding(layers.Layer):
    """Leaves out positions of zeros alone, of which all examples have as many."""

    def call(self, x):
        sounds = tf.reduce_any(x != 0, axis=(0, -1))
        return tf.boolean_mask(x, sounds, axis=1)


@keras.saving.register_keras_serializable("test_open_lengths")
class Loud(Rows):
    """Takes nothing silent, and nothing of ones."""

    def call(self, x):
        is_loud = tf.debugging.assert_greater(tf.reduce_max(x), 1.5, "too silent")
        with tf.control_dependencies([is_loud] if is_loud is not None else []):
            return super().call(x)


def net_of_rows(filters: int, rows: layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(filters)
    given = keras.Input((8, 4))
    x = rows(layers.Conv1D(2 * filters, 3, padding="same")(given))
    model = keras.Model(given, layers.Dense(2)(x), name="net")
    model.compile("adam", "mse")
    return model


def test_an_output_may_leave_open_how_long_it_is_where_inputs_do_not() -> None:
    wanted = RNG.normal(size=(120, 8, 2)).astype("float32")
    settings = {"epochs": 2, "training": {"batch_size": 32}}
    losses = [
        pk.distil(net_of_rows(1, rows()), (X, wanted), teacher=net_of_rows(1, rows()), **settings)
        .steps[-1]
        .history.loss
        for rows in (Rows, lambda: layers.Reshape((-1, 2)))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    with pytest.raises(pk.UserError, match=r"values of the shape \(9, 2\).* but net gives \(8, 2\)"):
        pk.fine_tune(net_of_rows(1, Rows()), (X, np.zeros((120, 9, 2), "float32")), epochs=1)


def net_of(layer: layers.Layer) -> keras.Model:
    given = keras.Input((8, 4))
    model = keras.Model(given, layers.Dense(2)(layer(given)), name="net")
    model.compile("adam", "mse")
    return model


def test_outputs_of_an_open_length_are_as_long_as_those_of_a_real_example() -> None:
    padded = X.copy()
    padded[:, 5:] = 0
    wanted = RNG.normal(size=(120, 5, 2)).astype("float32")
    assert pk.fine_tune(net_of(Sounding()), (padded, wanted), epochs=1).steps
    wanted = RNG.normal(size=(120, 16, 2)).astype("float32")
    assert pk.fine_tune(net_of(Loud()), (X + 2, wanted), epochs=1).steps


def test_a_layer_that_refuses_an_example_is_told_with_its_model() -> None:
    wanted = RNG.normal(size=(120, 16, 2)).astype("float32")
    said = r"^The model net tells the shape of its outputs only of an example, and cannot be called "
    said += r"with one of the shapes \[\(8, 4\)\]: .*too silent"
    with pytest.raises(pk.UserError, match=said):
        pk.fine_tune(net_of(Loud()), (0 * X, wanted), epochs=1)


def test_what_takes_any_length_is_shown_without_its_multiply_adds() -> None:
    tuned = pk.fine_tune(net(4), (X, Y), epochs=1)
    assert repr(tuned) == "<Network net: fine_tune; MACs follow the inputs' size>"
    assert "Parameters" in str(tuned)
    assert "Multiply-adds" not in str(tuned)
    assert str(net(4).count_params()) in tuned._repr_html_()
    with pytest.raises(pk.UserError, match="fix"):
        tuned.speedup  # noqa: B018


def test_lengths_that_are_known_only_when_they_are_there_change_no_distance() -> None:
    student, teacher = (RNG.normal(size=(2, n, 3)).astype("float32") for n in (9, 6))
    kernel, bias = np.eye(3, dtype="float32"), np.ones(3, "float32")
    signature = [tf.TensorSpec((None, None, 3))] * 2
    for distance, more in ((feature_distance, (kernel, bias)), (attention_distance, ())):
        traced = tf.function(lambda a, b, d=distance, m=more: d(a, b, *m), input_signature=signature)
        np.testing.assert_allclose(
            traced(student, teacher), distance(student, teacher, *more), rtol=1e-5
        )
        np.testing.assert_allclose(
            traced(teacher, teacher), distance(teacher, teacher, *more), atol=1e-6
        )
