"""8 bits span what a tensor holds on the calibration examples, and no more."""

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.deploy import convert_litert
from pocketkube.litert.flatbuffer import read_model


def test_what_a_block_adds_has_a_range_of_its_own() -> None:
    """The addition is computed in the memory of what it reads."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 4))
    branch = layers.Conv2D(
        4, 3, padding="same", kernel_initializer=keras.initializers.RandomNormal(0.01)
    )
    added = branch(layers.ReLU()(layers.Conv2D(4, 3, padding="same")(x)))
    model = keras.Model(x, layers.GlobalMaxPooling2D()(layers.Add()([x, added])))
    examples = np.random.default_rng(0).normal(0, 10, (50, 8, 8, 4)).astype("float32")
    values = keras.Model(x, added).predict(examples, verbose=0)
    content = convert_litert(model, "int8", calibration=[examples])
    scales = [
        float(tensor.quantization.scale[0])
        for tensor in read_model(content).subgraphs[0].tensors
        if list(tensor.shape) == [1, 8, 8, 4] and tensor.quantization.scale is not None
    ]
    assert min(scales) == pytest.approx(np.ptp(values) / 255, rel=1e-3)
