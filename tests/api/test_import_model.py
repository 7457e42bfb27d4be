"""A model that takes images of any size, brought to one."""

from pathlib import Path

import keras
import pytest
from keras import layers

import pocketkube as pk


def test_a_model_of_any_size_is_read_at_one(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(16, 3, padding="same")(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, padding="same")(x))
    keras.Model(inputs, x).save(tmp_path / "net.keras")
    network = pk.import_model(tmp_path / "net.keras", image_size=(6, 10))
    assert network.profile.macs == 6 * 10 * 9 * (3 * 16 + 16 * 8)
    with pytest.raises(pk.UserError, match="The image size 0 x 3 is none"):
        pk.import_model(tmp_path / "net.keras", image_size=(0, 3))
    network.save(tmp_path / "sized.keras")
    assert pk.import_model(tmp_path / "sized.keras", image_size=(6, 10)).profile == network.profile
    with pytest.raises(pk.UserError, match="takes inputs of the fixed shapes"):
        pk.import_model(tmp_path / "sized.keras", image_size=(10, 6))
