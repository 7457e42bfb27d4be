"""What is said of XNNPACK's sparse kernels.

Larger networks of these forms were run by LiteRT 2.3.0 with its sparse kernels on: those that are
sparse ran three times as fast as with their zeros stored, the others alike, and the wrong ones gave
other outputs.
"""

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.deploy import convert_litert, sparse_kernels
from pocketkube.models import build_model


def image():
    return keras.Input((32, 32, 3))


def stem(x, padding=1, strides=2):
    x = layers.ZeroPadding2D(padding)(x)
    return layers.Conv2D(16, 3, strides, activation="relu")(x)


def separable(x, count, kernel=3):
    for _ in range(count):
        x = layers.DepthwiseConv2D(kernel, padding="same", activation="relu")(x)
        x = layers.Conv2D(16, 1, activation="relu")(x)
    return x


def mean(x):
    return layers.GlobalAveragePooling2D()(x)


def plain(x):
    return layers.Dense(5)(mean(separable(stem(x), 2)))


def residual(x):
    x = separable(stem(x), 1)
    return mean(layers.Add()([x, separable(x, 1, kernel=5)]))


def squeezed(x):
    x = separable(stem(x), 1)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(16, 1, activation="sigmoid")(layers.Conv2D(4, 1, activation="relu")(gate))
    return mean(separable(layers.Multiply()([x, gate]), 1))


def gives_an_image_too(x):
    x = separable(stem(x), 1)
    return [mean(separable(x, 1)), x]


def pooled_between(x):
    return mean(separable(layers.MaxPooling2D()(separable(stem(x), 1)), 1))


def pooled_beside(x):
    x = separable(stem(x), 1)
    return [mean(separable(x, 1)), layers.Flatten()(layers.MaxPooling2D(8)(x))]


def without_mean(x):
    return separable(stem(x), 2)


def same_padding(x):
    x = layers.Conv2D(16, 3, 2, padding="same", activation="relu")(x)
    return mean(separable(x, 2))


def wide_padding(x):
    return mean(separable(stem(x, padding=2), 2))


def unstrided(x):
    return mean(separable(stem(x, strides=1), 2))


def file_of(network, share=0.9):
    keras.utils.set_random_seed(0)
    given = image()
    model = keras.Model(given, network(given))
    return convert_litert(with_zeros(model, share), "float32", store_sparse=True)


def with_zeros(model, share):
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and layer.kernel_size == (1, 1):
            kernel = layer.kernel.numpy()
            kept = np.abs(kernel) > np.quantile(np.abs(kernel), share)
            layer.kernel.assign(np.where(kept, kernel, 0))
    return model


@pytest.mark.parametrize(("network", "convolutions"), [(plain, 2), (residual, 2), (squeezed, 4)])
def test_chains_from_a_strided_convolution_to_a_mean_are_computed_sparse(network, convolutions):
    found = sparse_kernels(file_of(network))
    assert (found.convolutions, found.sparse, found.reason) == (convolutions, convolutions, "")
    assert not found.wrong


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (same_padding, 'a 3x3 convolution with strides and padding="same"'),
        (wide_padding, "a 3x3 convolution with other padding than"),
        (unstrided, "3 channels and strides of 1 (only 3 and 2 will do)"),
        (without_mean, "no mean over the image"),
        (pooled_beside, "max_pool_2d"),
    ],
)
def test_what_keeps_them_back_is_named(network, reason):
    found = sparse_kernels(file_of(network))
    assert found.sparse == 0
    assert reason in found.reason
    assert not found.wrong


@pytest.mark.parametrize(("network", "sparse"), [(gives_an_image_too, 2), (pooled_between, 1)])
def test_an_image_that_leaves_a_chain_makes_the_outputs_wrong(network, sparse):
    found = sparse_kernels(file_of(network))
    assert found.sparse == sparse
    assert found.wrong


class Counted(layers.Layer):
    """Counts its calls in a variable."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, inputs):
        self.calls.assign(self.calls + 1)
        return inputs


def test_a_network_that_keeps_something_from_call_to_call_has_a_file_that_is_read():
    images = image()
    model = with_zeros(keras.Model(images, plain(Counted()(images))), 0.9)
    assert sparse_kernels(convert_litert(model, "float32", store_sparse=True)).convolutions == 2


def test_zeros_have_to_be_more_than_two_thirds():
    assert sparse_kernels(file_of(plain, share=0.9)).sparse == 2
    found = sparse_kernels(file_of(plain, share=0.6))
    assert found.sparse == 0
    assert "not over two thirds" in found.reason


@pytest.mark.parametrize(("name", "convolutions"), [("mobilenet_v1", 13), ("mobilenet_v2", 34)])
@pytest.mark.parametrize("number_format", ["float32", "float16"])
def test_the_mobilenets_are_made_for_sparse_kernels(name, convolutions, number_format):
    model = with_zeros(build_model(name, (96, 96, 3), 10, width=0.25), 0.9)
    found = sparse_kernels(convert_litert(model, number_format, store_sparse=True))
    assert (found.convolutions, found.sparse, found.wrong) == (convolutions, convolutions, False)
