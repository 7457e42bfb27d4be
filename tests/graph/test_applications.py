"""Networks of keras.applications go through: profile, half the multiply-adds, save, reload, convert."""

import inspect
from pathlib import Path

import keras
import numpy as np
import pytest

from pocketkube.deploy import convert_litert
from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.ranking import keep_best, rank_units
from pocketkube.graph.surgery import remove_channels
from pocketkube.litert.running import LiteRTModel
from pocketkube.pruning.batch_statistics import recalibrate
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import prune
from pocketkube.spec.sections import PruneChannels
from tests.graph.silence import silence_every_other_unit

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
# Larger, and with layers that the smallest has not.
BUILT_OTHERWISE = ["MobileNetV3Large", "NASNetLarge"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest) -> keras.Model:
    """A network whose random weights say something: every branch counts, no layer's output fades."""
    model = built(request.param)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(np.ones(layer.gamma.shape))
    calibration = Calibration((images(8),), (), loss=lambda labels, outputs: outputs)
    recalibrate(model, calibration)
    return model


def built(name: str) -> keras.Model:
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    network = getattr(keras.applications, name)
    return network(weights=None, input_shape=(96, 96, 3), classes=10, classifier_activation=None)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).uniform(0, 255, (count, 96, 96, 3)).astype(np.float32)


def assert_same(outputs: np.ndarray, wanted: np.ndarray) -> None:
    """They differ by far less than the outputs of one example from another's.

    Where those hardly vary, as EfficientNet's with random weights, by what rounding adds up to.
    """
    wanted = np.asarray(wanted)
    rounding = 16 * np.finfo(np.float32).eps * np.abs(wanted).max()
    assert np.abs(outputs - wanted).max() < max(1e-3 * wanted.std(axis=0).max(), rounding)


def test_every_family_has_its_smallest_tested() -> None:
    def family(name: str) -> str:
        # As in vgg16 and vgg19, two modules of one family.
        return getattr(keras.applications, name).__module__.rstrip("0123456789")

    everything = [name for name, net in inspect.getmembers(keras.applications, inspect.isfunction)]
    assert {family(name) for name in everything} == {family(name) for name in FAMILIES}


@pytest.mark.parametrize("name", BUILT_OTHERWISE)
def test_cutting_nothing_from_a_larger_sister(name: str) -> None:
    test_cutting_nothing_gives_bit_equal_outputs(built(name))


def test_cutting_nothing_gives_bit_equal_outputs(model: keras.Model) -> None:
    graph = trace_channels(model)
    same = remove_channels(model, graph, np.ones(graph.units.count, bool))
    np.testing.assert_array_equal(same(images(1), training=False), model(images(1), training=False))
    assert graph.left_whole == ()


def test_costs_are_those_of_the_model_that_surgery_builds(model: keras.Model) -> None:
    graph, rng = trace_channels(model), np.random.default_rng(0)
    scores = rng.random(graph.units.count)
    costs = cost_model_of(model, graph, scores=scores, round_to=1)
    assert costs.is_exact
    whole = profile_model(model)
    assert (costs.macs(costs.sizes), costs.parameters(costs.sizes)) == (whole.macs, whole.parameters)
    counts = np.array([rng.integers(group.least, group.size + 1) for group in costs.groups])
    real = profile_model(remove_channels(model, graph, keep_best(rank_units(graph, scores), counts)))
    assert (costs.macs(counts), costs.parameters(counts)) == (real.macs, real.parameters)


def test_half_the_multiply_adds(model: keras.Model, tmp_path: Path) -> None:
    pruned = prune(model, PruneChannels(criterion="l2"), speedup=2)
    assert 2 <= pruned.before.macs / pruned.after.macs <= 2.02
    pruned.model.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    assert again.output_shape == model.output_shape
    assert profile_model(again) == pruned.after
    file = LiteRTModel(convert_litert(again, "float32"))
    outputs = np.concatenate([outputs for (outputs,) in file.predict([images(4)])])
    assert_same(outputs, again(images(4), training=False))


def test_cutting_units_that_nothing_reads_leaves_the_outputs(model: keras.Model) -> None:
    graph, weights = trace_channels(model), model.get_weights()
    try:
        smaller = remove_channels(model, graph, silence_every_other_unit(graph))
        assert smaller.count_params() < 0.8 * model.count_params()
        assert_same(smaller(images(4), training=False), model(images(4), training=False))
    finally:
        # The other tests' network is this one.
        model.set_weights(weights)
