"""Layers of a user's own: a subclass that computes as its parent, and one that is registered."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.extension import layers as registry
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.inputs import refuse_unknown_ids
from pocketkube.graph.kernels import kernels_of
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.surgery import remove_channels
from pocketkube.quantization.insertion import prepare
from pocketkube.quantization.quantize import quantize
from pocketkube.spec.sections import QuantizeWeights
from tests.graph import own_nets
from tests.graph.silence import silence_every_other_unit


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """What a test registers is for that test."""
    found, decorated = dict(registry._found), dict(registry._decorated)
    yield
    registry._found, registry._decorated = found, decorated


@pytest.fixture(params=["subclassed", "registered"])
def model(request: pytest.FixtureRequest) -> keras.Model:
    own_nets.register()
    model = getattr(own_nets, request.param)()
    rng = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5 if "variance" in weight.path else -1.0, 1.0, weight.shape))
    return model


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 8, 8, 3)).astype(np.float32)


def test_cutting_nothing_gives_bit_equal_outputs(model: keras.Model) -> None:
    graph = trace_channels(model)
    same = remove_channels(model, graph, np.ones(graph.units.count, bool))
    np.testing.assert_array_equal(same(images()), model(images()))
    assert [type(layer) for layer in same.layers] == [type(layer) for layer in model.layers]


def test_cutting_units_that_nothing_reads_leaves_the_outputs(model: keras.Model) -> None:
    graph = trace_channels(model)
    assert not graph.left_whole
    keep = silence_every_other_unit(graph)
    smaller = remove_channels(model, graph, keep)
    np.testing.assert_allclose(smaller(images()), model(images()), rtol=1e-4, atol=1e-4)
    assert smaller.layers[1].filters == 4


def test_they_cost_what_keras_own_layers_do(model: keras.Model) -> None:
    plain = {own_nets.Named: 3 * 3 * 3 * 8 * 64, own_nets.Bounded: 3 * 3 * 3 * 8 * 36}
    found = profile_model(model)
    assert found.layers[0].macs == plain[type(model.layers[1])]
    assert not found.unknown
    assert {"stem", "bounded"} & {kernel.layer for kernel in kernels_of(model)}


def test_what_only_moves_is_folded_and_what_computes_otherwise_is_not(model: keras.Model) -> None:
    prepared = prepare(model, None)
    np.testing.assert_allclose(prepared.model(images()), model(images()), rtol=1e-3, atol=1e-4)
    assert dict(prepared.folded) == ({"norm": "stem"} if model.layers[1].name == "stem" else {})


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            own_nets.Bounded(6, 3, name="mine"),
            "mine (Bounded): no rule knows it, so that all that goes in and out stays, for it "
            "overrides call of Conv2D; if its channels may be cut all the same, say so: "
            "pocketkube.register_layer(Bounded, like=keras.layers.Conv2D)",
        ),
        (
            own_nets.Standardized(6, 3, name="mine"),
            "mine (Standardized): no rule knows it, so that all that goes in and out stays, for it "
            "overrides convolution_op of Conv2D; if its channels may be cut all the same, say so: "
            "pocketkube.register_layer(Standardized, like=keras.layers.Conv2D)",
        ),
        (
            own_nets.Factors(name="mine"),
            "mine (Factors): no rule knows it, so that all that goes in and out stays; if its channels "
            "may be cut, say how: pocketkube.register_layer(Factors, like=…), or with channels=…",
        ),
    ],
)
def test_what_computes_otherwise_is_held_until_it_is_registered(layer: layers.Layer, said: str) -> None:
    inputs = keras.Input((8, 8, 3))
    x = layer(layers.Conv2D(8, 3, name="before")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    graph = trace_channels(model)
    assert graph.left_whole == (said,)
    assert not graph.groups
    np.testing.assert_allclose(prepare(model, None).model(images()), model(images()), atol=1e-5)


@pytest.mark.parametrize(
    "built",
    [
        lambda: [own_nets.Bounded(6, 3, activation="relu", name="mine")],
        lambda: [own_nets.Bounded(6, 3, name="mine"), layers.BatchNormalization()],
        lambda: [own_nets.Standardized(6, 3, activation="sigmoid", name="mine")],
        lambda: [layers.Conv2D(6, 3), own_nets.HalfNorm(name="mine")],
        lambda: [layers.ReLU(), own_nets.HalfNorm(name="mine")],
        lambda: [own_nets.SquaredScale(2.0, -1.0, name="mine")],
        lambda: [own_nets.DoubledDepthwise(3, activation="relu", name="mine")],
        lambda: [own_nets.DoubledSeparable(6, 3, activation="relu", name="mine")],
        lambda: [own_nets.HalvedSteps(layers.Dense(6), name="mine")],
        lambda: [own_nets.HalvedSpectral(layers.Dense(6), name="mine")],
    ],
    ids=[
        "with_relu", "before_norm", "kernel_changed", "norm_behind_conv", "norm_alone", "rescaling",
        "depthwise", "separable", "time_distributed", "spectral",
    ],
)  # fmt: skip
def test_what_computes_otherwise_is_quantized_as_it_is(built) -> None:
    own_nets.register()
    inside = [layers.Conv2D(8, 3), *built(), layers.GlobalAveragePooling2D(), layers.Dense(2)]
    model = keras.Sequential([keras.Input((8, 8, 3)), *inside])
    rng = np.random.default_rng(2)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5 if "variance" in weight.path else -1.0, 1.0, weight.shape))
    prepared = prepare(model, None)
    np.testing.assert_allclose(prepared.model(images()), model(images()), rtol=1e-4, atol=1e-4)
    mine = prepared.model.get_layer("mine")
    assert type(mine) is type(model.get_layer("mine"))


def test_kernels_of_what_is_registered_are_rounded_and_its_activation_stays() -> None:
    own_nets.register()
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization()(own_nets.Bounded(6, 3, activation="relu", name="mine")(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    found = quantize(model, QuantizeWeights(weight_bits=4, first_last_bits=4), (images(8),), seed=0)
    found.method.finish()
    mine = found.model.get_layer("mine")
    assert mine.activation is keras.activations.relu
    kernel = np.asarray(mine.kernel).reshape(-1, 6)
    assert max(len(np.unique(channel)) for channel in kernel.T) <= 2**4


def test_a_table_that_takes_any_number_is_given_any() -> None:
    inputs = keras.Input((2,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(2)(own_nets.RoundTable(5, 3)(inputs)))
    refuse_unknown_ids("examples", model, [np.array([[3, 12]])])


def test_keras_own_classes_stand_for_themselves() -> None:
    assert computes_as(layers.Dense(2)) is layers.Dense
    assert computes_as(own_nets.NamedTwice(2)) is layers.Conv2D
    assert computes_as(own_nets.Standardized(2, 3)) is own_nets.Standardized
