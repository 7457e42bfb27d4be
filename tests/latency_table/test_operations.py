"""Operations of a file are of one kind where nothing but their size tells their times apart."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.deploy.convert import convert_litert
from pocketkube.latency_table.measuring import TimedNetwork, measure_table
from pocketkube.latency_table.of_network import writer
from pocketkube.latency_table.operations import operations_of
from pocketkube.latency_table.prunings import random_prunings
from pocketkube.litert.operations import LiteRtGraph
from pocketkube.pruning.pruner import Pruner

PLANE, SPACE = (16, 16, 8), (4, 8, 8, 8)


def kinds(shape: tuple[int, ...], *convolutions: keras.layers.Layer) -> list[str]:
    given = keras.Input(shape)
    # One after the other: in one file, a converter may write them in any order.
    found = []
    for convolution in convolutions:
        graph = LiteRtGraph(convert_litert(keras.Model(given, convolution(given)), "float32"))
        found += [sized.kind for sized, _ in operations_of(graph) if "CONV" in sized.kind]
    return found


@pytest.mark.parametrize(
    ("shape", "convolutions", "wanted"),
    [
        (
            PLANE,
            [
                layers.Conv2DTranspose(8, 2, strides=2, padding="same"),
                layers.Conv2DTranspose(8, 7, strides=2, padding="same"),
                layers.Conv2DTranspose(8, 7, strides=4, padding="same"),
            ],
            [
                "TRANSPOSE_CONV float32 16x16, kernel 2x2, stride 2x2, same padding",
                "TRANSPOSE_CONV float32 16x16, kernel 7x7, stride 2x2, same padding",
                "TRANSPOSE_CONV float32 16x16, kernel 7x7, stride 4x4, same padding",
            ],
        ),
        (
            PLANE,
            [
                layers.Conv2D(8, 1, groups=4),
                layers.Conv2D(8, 5, groups=4, padding="same"),
                layers.Conv2D(8, 3, groups=4, dilation_rate=2),
            ],
            [
                "CONV_2D float32 16x16, kernel 1x1, stride 1x1, valid padding, in groups",
                "CONV_2D float32 16x16, kernel 5x5, stride 1x1, same padding, in groups",
                "CONV_2D float32 16x16, kernel 3x3, stride 1x1, dilation 2x2, valid padding, in groups",
            ],
        ),
        (
            PLANE,
            [
                layers.DepthwiseConv2D(3, depth_multiplier=2),
                layers.DepthwiseConv2D(9, depth_multiplier=2),
                layers.DepthwiseConv2D(9, depth_multiplier=4),
            ],
            [
                "DEPTHWISE_CONV_2D float32 16x16, kernel 3x3, stride 1x1, valid padding, multiplier 2",
                "DEPTHWISE_CONV_2D float32 16x16, kernel 9x9, stride 1x1, valid padding, multiplier 2",
                "DEPTHWISE_CONV_2D float32 16x16, kernel 9x9, stride 1x1, valid padding, multiplier 4",
            ],
        ),
        (
            SPACE,
            [
                layers.Conv3D(8, 1),
                layers.Conv3D(8, 3, strides=(1, 2, 2), padding="same"),
                layers.Conv3DTranspose(8, 3, strides=2, padding="same"),
            ],
            [
                "CONV_3D float32 4x8x8, kernel 1x1x1, stride 1x1x1, valid padding",
                "CONV_3D float32 4x8x8, kernel 3x3x3, stride 1x2x2, same padding",
                "CONV_3D_TRANSPOSE float32 4x8x8, kernel 3x3x3, stride 2x2x2, same padding",
            ],
        ),
    ],
)
def test_convolutions_of_other_cost_are_of_other_kinds(shape, convolutions, wanted) -> None:
    assert kinds(shape, *convolutions) == wanted


@pytest.mark.parametrize(("channels", "groups"), [(16, 16), (16, 8), (32, 4)])
def test_a_network_stays_of_its_kinds_where_channels_are_cut(channels: int, groups: int) -> None:
    given = keras.Input(PLANE)
    x = layers.Conv2D(channels, 1, activation="relu")(given)
    x = layers.Conv2D(channels, 3, groups=groups, activation="relu")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="relu")(x)
    x = layers.Conv2DTranspose(16, 3, strides=2, activation="relu")(x)
    pruner = Pruner(keras.Model(given, layers.Conv2D(2, 1)(x)))
    files = random_prunings(pruner, "float32", writer("float32")).networks
    found = [[s.kind for s, _ in operations_of(LiteRtGraph(file.content))] for file in files]
    assert len(found) > 2
    assert all(kinds == found[0] for kinds in found)


def test_positions_that_are_convolved_at_a_time_tell_kinds_apart(tmp_path: Path) -> None:
    steps = keras.Input((3, 4, 4, 2))
    x = layers.Conv2D(3, 1)(keras.ops.reshape(steps, (-1, 4, 4, 2)))
    model = keras.Model(steps, keras.ops.reshape(x, (-1, 3 * 4 * 4 * 3)))
    file = TimedNetwork("net", "float32", convert_litert(model, "float32"))
    table = measure_table([file], tmp_path / "table.json", rounds=1)
    # Three images of 4x4 take about three times as long as one, which is of another kind.
    assert "CONV_2D float32 4x4, 3 at a time, kernel 1x1, stride 1x1, valid padding" in table.by_kind


def test_tensors_that_begin_with_steps_of_time_are_measured(tmp_path: Path) -> None:
    steps = keras.Input((4, 3))
    model = keras.Model(steps, layers.SimpleRNN(2)(steps))
    content = convert_litert(model, "int8", calibration=(np.ones((2, 4, 3), "float32"),))
    table = measure_table([TimedNetwork("net", "int8", content)], tmp_path / "table.json", rounds=1)
    assert any(kind.startswith("UNPACK int8") for kind in table.by_kind)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (layers.PReLU(shared_axes=[1, 2]), "PRELU float32"),
        (layers.LayerNormalization(), "MUL float32"),
        (layers.Conv2D(4, 1, groups=2), "CONV_2D float32 4x4, kernel 1x1"),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), "DEPTHWISE_CONV_2D float32 4x4, kernel 3x3"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_weights_in_halves_are_measured_as_the_floats_that_they_are_computed_in(
    layer: keras.layers.Layer, kind: str, tmp_path: Path
) -> None:
    image = keras.Input((4, 4, 4))
    x = layers.Conv2D(4, 1)(image)
    model = keras.Model(image, layers.Conv2D(4, 1)(layer(x)))
    file = TimedNetwork("net", "float16", convert_litert(model, "float16"))
    table = measure_table([file], tmp_path / "table.json", rounds=1)
    assert any(each.startswith(kind) for each in table.by_kind)
