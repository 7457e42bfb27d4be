"""Bundles and model files are read as they were meant."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.bundle import load_model
from pocketkube.deploy import convert_litert
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.packing import load_packed, write_packed


def test_a_model_of_mixed_precision_computes_in_float32(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    policy = keras.DTypePolicy("mixed_float16")
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, dtype=policy)(inputs)
    x = layers.BatchNormalization(dtype=policy)(x)
    x = layers.ReLU(dtype=policy)(x)
    x = layers.GlobalAveragePooling2D(dtype=policy)(x)
    model = keras.Model(inputs, layers.Dense(4, dtype="float32")(x))
    model.save(tmp_path / "mixed.keras")
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")
    half = model.predict(images, verbose=0)

    loaded = load_model(tmp_path / "mixed.keras")
    whole = loaded.predict(images, verbose=0)
    # Half precision has 11 bits.
    np.testing.assert_allclose(whole, half, atol=2**-9 * np.abs(half).max())
    (converted,) = zip(*LiteRTModel(convert_litert(loaded, "float32")).predict([images]), strict=True)
    np.testing.assert_allclose(np.concatenate(converted), whole, rtol=1e-4, atol=1e-5)


def test_what_is_inside_frozen_layers_is_frozen_in_files_too(tmp_path: Path) -> None:
    """Keras makes the layers inside attention anew when it loads them, to be trained."""
    x = inputs = keras.Input((6, 8))
    attends, steps = layers.MultiHeadAttention(2, 4), layers.TimeDistributed(layers.Dense(8))
    x = steps(attends(x, x))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    attends.trainable = steps.trainable = False
    # What says itself that it is trained is.
    steps.layer.trainable = True
    trained = len(model.trainable_variables)
    assert trained == 4
    model.save(tmp_path / "net.keras")
    write_packed(tmp_path / "net.pkb", model, {})
    assert len(load_model(tmp_path / "net.keras").trainable_variables) == trained
    assert len(load_packed(tmp_path / "net.pkb").trainable_variables) == trained


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64"])
def test_weights_of_another_precision_are_refused_in_a_line(tmp_path: Path, policy: str) -> None:
    layer = layers.Dense(3, dtype=policy, name="head")
    keras.Sequential([keras.Input((4,)), layer]).save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=rf"net\.keras: the weight .*head/kernel is {policy}.*float32"):
        load_model(tmp_path / "net.keras")


def test_layers_that_keep_a_state_are_refused_by_name(tmp_path: Path) -> None:
    memory = layers.GRU(4, stateful=True, name="memory")
    wrapped = layers.Bidirectional(layers.GRU(4), name="both_ways")
    keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), memory]).save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"net\.keras: the layer memory is stateful.*stateful=False"):
        load_model(tmp_path / "net.keras")
    keras.Sequential([keras.Input(batch_shape=(2, 5, 3)), wrapped]).save(tmp_path / "net.keras")
    assert load_model(tmp_path / "net.keras").layers[-1].name == "both_ways"


def test_a_model_whose_training_went_astray_is_refused(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="head")])
    model.layers[-1].bias.assign([0.0, np.nan, 0.0])
    model.save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"net\.keras: .*head/bias holds NaN"):
        load_model(tmp_path / "net.keras")


def test_a_mask_that_is_not_trained_may_hold_infinity(tmp_path: Path) -> None:
    head, scale = layers.Dense(3, name="head"), layers.BatchNormalization()
    model = keras.Sequential([keras.Input((4,)), head, scale])
    # Stands for an attention mask, which takes a layer of one's own.
    scale.moving_mean.assign([0.0, -np.inf, 0.0])
    model.save(tmp_path / "mask.keras")
    assert np.isneginf(load_model(tmp_path / "mask.keras").layers[-1].moving_mean).any()
    head.bias.assign([0.0, np.inf, 0.0])
    model.save(tmp_path / "net.keras")
    with pytest.raises(UserError, match=r"net\.keras: .*head/bias holds infinity"):
        load_model(tmp_path / "net.keras")
