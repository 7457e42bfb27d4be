"""Layers that are made anew with fewer channels give what they gave, and can be trained on."""

import keras
import numpy as np
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.graph.surgery import copy_model

RNG = np.random.default_rng(0)


def test_a_model_within_that_takes_any_size_is_cut_where_it_is_called_at_two() -> None:
    any_size = keras.Input((None, None, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="made")(any_size)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding="same")(x))
    tower = keras.Model(any_size, x, name="tower")
    large, small = keras.Input((12, 12, 3)), keras.Input((6, 6, 3))
    model = keras.Model([large, small], layers.Add()([tower(large), tower(small)]))
    images = [RNG.normal(size=(4, *x.shape[1:])).astype("float32") for x in model.inputs]
    wanted = model.predict(images, verbose=0)
    np.testing.assert_allclose(copy_model(model).predict(images, verbose=0), wanted, rtol=1e-5)
    pruned = pk.prune(model, ratios={"tower/made": 0.5})
    assert pruned.model.get_layer("tower").get_layer("made").filters == 8
    assert pruned.model.predict(images, verbose=0).shape == wanted.shape


@pytest.mark.parametrize("speedup", [None, 2.0])
def test_a_layer_that_began_with_an_array_can_be_cut(speedup: float | None) -> None:
    glove = RNG.normal(size=(20, 16)).astype("float32")
    embedding = layers.Embedding(
        20, 16, embeddings_initializer=keras.initializers.Constant(glove), name="words"
    )
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            embedding,
            layers.Conv1D(16, 3, activation="relu"),
            layers.GlobalMaxPooling1D(),
            layers.Dense(3),
        ]
    )
    given = {"ratios": {"words": 0.5}} if speedup is None else {"speedup": speedup, "round_to": 1}
    found = pk.prune(model, **given).model.get_layer("words")
    left = np.asarray(found.embeddings)
    assert left.shape[1] < 16
    # Each column that is left is one that there was.
    assert {column.tobytes() for column in left.T.copy()} <= {
        column.tobytes() for column in glove.T.copy()
    }


@pytest.mark.parametrize("shape", [(3, 8), (8, 4)])
def test_attention_that_gives_several_axes_stays_as_it_is(shape: tuple[int, int]) -> None:
    rows = keras.Input((5, 16))
    x = layers.MultiHeadAttention(2, 4, output_shape=shape)(rows, rows)
    model = keras.Model(rows, layers.Dense(3)(layers.Flatten()(x)))
    inputs = RNG.normal(size=(4, 5, 16)).astype("float32")
    wanted = model.predict(inputs, verbose=0)
    np.testing.assert_allclose(copy_model(model).predict(inputs, verbose=0), wanted, rtol=1e-5)
    pruned = pk.prune(model, speedup=1.3, round_to=1)
    assert pruned.speedup >= 1.3
    assert np.isfinite(pruned.model.predict(inputs, verbose=0)).all()


@pytest.mark.parametrize("kind", [layers.Dropout, layers.AlphaDropout])
def test_noise_of_each_channel_goes_with_it(kind: type[keras.Layer]) -> None:
    rows = keras.Input((5, 4))
    x = layers.Dense(16, name="made")(rows)
    x = kind(0.3, noise_shape=(None, 1, 16), name="noise")(x)
    model = keras.Model(rows, layers.Dense(3)(layers.Flatten()(x)))
    data = (RNG.normal(size=(64, 5, 4)).astype("float32"), RNG.integers(0, 3, 64))
    pruned = pk.prune(model, ratios={"made": 0.5})
    assert tuple(pruned.model.get_layer("noise").noise_shape) == (None, 1, 8)
    assert pk.fine_tune(pruned, data, epochs=1).is_trained
