"""Normalization that was adapted to data normalises in all models that are made of one."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.graph.fixed_size import at_shapes
from pocketkube.litert.running import LiteRTModel

VALUES = np.random.default_rng(0).normal(50, 20, (200, 6)).astype("float32")
IS_LARGE = (VALUES[:, 0] + VALUES[:, 1] > 100).astype("int32")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    normalization = layers.Normalization()
    normalization.adapt(VALUES)
    inner = keras.Sequential([keras.Input((6,)), normalization, layers.Dense(16, "relu")], name="inner")
    model = keras.Sequential([keras.Input((6,)), inner, layers.Dense(2)], name="normalized")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.02), loss)
    model.fit(VALUES, IS_LARGE, epochs=15, verbose=0)
    assert accuracy(model) > 0.97
    return model


def accuracy(model: keras.Model) -> float:
    return float((model.predict(VALUES, verbose=0).argmax(axis=1) == IS_LARGE).mean())


@pytest.mark.parametrize(
    "compress",
    [
        lambda model: pk.quantize(model, VALUES),
        lambda model: pk.cluster(model, bits=6),
        lambda model: pk.sparsify(model, (VALUES, IS_LARGE), sparsity=0.2, epochs=1),
        lambda model: pk.fine_tune(model, (VALUES, IS_LARGE), epochs=1),
        lambda model: pk.prune(model, speedup=1.2, data=(VALUES, IS_LARGE)),
    ],
    ids=["quantize", "cluster", "sparsify", "fine_tune", "prune"],
)
def test_a_compressed_model_normalises_as_it_does_when_it_is_loaded_again(
    model: keras.Model, compress: Callable[[keras.Model], pk.Network], tmp_path: Path
) -> None:
    made = compress(model)
    loaded = keras.models.load_model(made.save(tmp_path / "made.keras"))
    wanted = loaded.predict(VALUES, verbose=0)
    np.testing.assert_allclose(made.model.predict(VALUES, verbose=0), wanted, rtol=1e-5, atol=1e-5)
    assert accuracy(made.model) > 0.95


def test_a_model_brought_to_other_shapes_normalises_as_before() -> None:
    normalization = layers.Normalization()
    normalization.adapt(VALUES.reshape(-1, 4, 1, 3))
    images = keras.Input((None, None, 3))
    convolved = layers.Conv2D(4, 3)(normalization(images))
    model = keras.Model(images, layers.GlobalAveragePooling2D()(convolved))
    sized = at_shapes(model, [(8, 8, 3)])
    examples = np.random.default_rng(0).normal(50, 20, (4, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(
        sized.predict(examples, verbose=0), model.predict(examples, verbose=0), rtol=1e-5, atol=1e-5
    )


def test_one_of_mixed_precision_normalises_in_float32(tmp_path: Path) -> None:
    def made(policy: str) -> keras.Model:
        normalization = layers.Normalization(dtype=policy)
        normalization.adapt(VALUES + 1000)
        return keras.Sequential([keras.Input((6,)), normalization, layers.Dense(3, dtype=policy)])

    mixed, whole = made("mixed_float16"), made("float32")
    whole.layers[-1].set_weights(mixed.layers[-1].get_weights())
    mixed.save(tmp_path / "mixed.keras")
    wanted = whole.predict(VALUES + 1000, verbose=0)
    for given in (mixed, pk.import_model(tmp_path / "mixed.keras")):
        exported = pk.export(given, tmp_path / "net.tflite")
        model = LiteRTModel(exported.path.read_bytes())
        found = np.concatenate([output for (output,) in model.predict([VALUES + 1000])])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
