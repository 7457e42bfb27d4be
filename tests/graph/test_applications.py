"""Networks of keras.applications go through: profile, half the multiply-adds, save, reload, convert."""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.deploy import convert_litert
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.surgery import remove_channels
from pocketkube.litert import LiteRTModel
from pocketkube.pruning.prune import prune
from pocketkube.spec.schema import PruneChannels

ALL = [name for name, net in inspect.getmembers(keras.applications, inspect.isfunction)]
# One of each family, the smallest: all others are the same layers, more often.
FAMILIES = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "Xception",
]


def build(name: str) -> keras.Model:
    keras.backend.clear_session()
    return getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_cutting_nothing_gives_bit_equal_outputs(name: str) -> None:
    if build(name).count_params() > 100e6:
        pytest.skip("needs more memory than a small machine has; its smaller sisters are tested")
    model = build(name)
    graph = trace_channels(model)
    same = remove_channels(model, graph, np.ones(graph.units.count, bool))
    x = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    np.testing.assert_array_equal(same(x, training=False), model(x, training=False))
    assert graph.left_whole == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_half_the_multiply_adds(name: str, tmp_path: Path) -> None:
    model = build(name)
    pruned = prune(model, PruneChannels(criterion="l2"), speedup=2)
    assert 2 <= pruned.before.macs / pruned.after.macs <= 2.02
    pruned.model.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    assert again.output_shape == model.output_shape
    assert profile_model(again) == pruned.after
    x = np.random.default_rng(0).uniform(0, 255, (1, 96, 96, 3)).astype(np.float32)
    (outputs,) = LiteRTModel(convert_litert(again, "float32")).predict([x])
    np.testing.assert_allclose(outputs[0], again(x, training=False), rtol=1e-3, atol=1e-4)
