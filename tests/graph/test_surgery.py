from collections.abc import Callable

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.graph.dependency import trace_channels
from pocketkube.graph.fixed_size import at_shapes
from pocketkube.graph.surgery import copy_model, remove_channels
from tests.graph.nets import NETS
from tests.graph.silence import silence_every_other_unit


def random_weights(model: keras.Model, rng: np.random.Generator) -> None:
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -1.0
        weight.assign(rng.uniform(low, 1.0, weight.shape))


def with_random_weights(build: Callable[[], keras.Model]) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build()
    random_weights(model, np.random.default_rng(0))
    return model


def random_inputs(model: keras.Model, rng: np.random.Generator) -> np.ndarray:
    shape = (3, *model.inputs[0].shape[1:])
    if "int" in model.inputs[0].dtype:
        return rng.integers(0, 20, shape)
    return rng.normal(size=shape).astype(np.float32)


@pytest.fixture(params=NETS)
def model(request: pytest.FixtureRequest) -> keras.Model:
    return with_random_weights(NETS[request.param])


def test_cutting_nothing_gives_bit_equal_outputs(model: keras.Model) -> None:
    graph = trace_channels(model)
    same = remove_channels(model, graph, np.ones(graph.units.count, bool))
    inputs = random_inputs(model, np.random.default_rng(1))
    np.testing.assert_array_equal(same(inputs, training=False), model(inputs, training=False))
    names = {layer.name for layer in model.layers}
    assert {layer.name for layer in same.layers if layer.weights} <= names


def test_cutting_units_that_nothing_reads_leaves_the_outputs(model: keras.Model) -> None:
    graph = trace_channels(model)
    keep = silence_every_other_unit(graph)
    smaller = remove_channels(model, graph, keep)
    inputs = random_inputs(model, np.random.default_rng(1))
    np.testing.assert_allclose(
        smaller(inputs, training=False), model(inputs, training=False), rtol=1e-4, atol=1e-4
    )
    assert smaller.count_params() < model.count_params()


def test_the_smaller_model_saves_and_reloads(model: keras.Model, tmp_path) -> None:
    graph = trace_channels(model)
    keep = np.ones(graph.units.count, bool)
    for group in graph.groups:
        keep[group.units[1:]] = False
    smaller = remove_channels(model, graph, keep)
    smaller.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras")
    inputs = random_inputs(model, np.random.default_rng(1))
    np.testing.assert_array_equal(again(inputs, training=False), smaller(inputs, training=False))
    assert smaller.output_shape == model.output_shape


def test_a_group_keeps_at_least_one_unit() -> None:
    model = NETS["residual"]()
    graph = trace_channels(model)
    with pytest.raises(
        ValueError, match=r"every group keeps at least one unit\. Received none for stem"
    ):
        remove_channels(model, graph, np.zeros(graph.units.count, bool))


def test_compile_settings_are_kept() -> None:
    model = NETS["residual"]()
    model.compile(optimizer="sgd", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    graph = trace_channels(model)
    smaller = remove_channels(model, graph, np.ones(graph.units.count, bool))
    assert smaller.get_compile_config() == model.get_compile_config()


def test_losses_and_metrics_of_ones_own_are_kept_as_they_are() -> None:
    """What Keras writes of a Huber has no delta, and of a function a name that nobody can look up."""

    def error(wanted: keras.KerasTensor, given: keras.KerasTensor) -> keras.KerasTensor:
        return keras.ops.abs(wanted - given)

    model = NETS["residual"]()
    optimizer, mean = keras.optimizers.SGD(0.03), keras.metrics.MeanAbsoluteError(name="mine")
    model.compile(optimizer, loss=keras.losses.Huber(delta=0.1), metrics=[error, mean])
    graph = trace_channels(model)
    smaller = remove_channels(model, graph, np.ones(graph.units.count, bool))
    wanted, given = np.zeros((2, 10), "float32"), np.ones((2, 10), "float32")
    assert float(smaller.loss(wanted, given)) == pytest.approx(0.1 * (1 - 0.05))
    assert smaller.optimizer is not optimizer
    assert float(smaller.optimizer.learning_rate) == pytest.approx(0.03)
    images = np.zeros((2, *model.input_shape[1:]), "float32")
    found = smaller.evaluate(images, wanted[:, : model.output_shape[-1]], verbose=0, return_dict=True)
    assert {"error", "mine"} <= set(found)


def test_frozen_layers_stay_frozen() -> None:
    model = NETS["residual"]()
    model.get_layer("stem").trainable = False
    graph = trace_channels(model)
    smaller = remove_channels(model, graph, np.ones(graph.units.count, bool))
    assert [layer.trainable for layer in smaller.layers] == [layer.trainable for layer in model.layers]


def attention(kind: type[keras.Layer], *, nested: bool = False) -> keras.Model:
    """A layer that makes others within itself when it is built, in the model or in one within it."""
    x = inputs = keras.Input((6, 8))
    attends = kind(2, 4, **{"num_key_value_heads": 1} if kind is layers.GroupQueryAttention else {})
    if nested:
        within = keras.Input((6, 8))
        attends = keras.Model(within, attends(within, within), name="attends")
        x = attends(x)
    else:
        x = attends(x, x)
    attends.trainable = False
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(16, name="hidden")(x)))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", [layers.MultiHeadAttention, layers.GroupQueryAttention])
def test_what_is_inside_frozen_layers_stays_frozen(kind: type[keras.Layer], nested: bool) -> None:
    model = attention(kind, nested=nested)
    assert len(model.trainable_variables) == 4
    assert len(copy_model(model).trainable_variables) == 4
    assert len(at_shapes(model, [(6, 8)]).trainable_variables) == 4


def test_a_part_of_a_layer_and_a_weight_alone_stay_frozen() -> None:
    model = attention(layers.MultiHeadAttention)
    (attends,) = (x for x in model.layers if isinstance(x, layers.MultiHeadAttention))
    attends.trainable = True
    attends.query_dense.trainable = False
    model.get_layer("hidden").kernel.trainable = False
    frozen = [variable.path for variable in model.non_trainable_variables]
    assert len(frozen) == 3
    assert [variable.path for variable in copy_model(model).non_trainable_variables] == frozen


def test_what_no_rule_knows_is_named_where_it_has_channels_to_lose() -> None:
    inputs = keras.Input((12, 4))
    x = layers.UnitNormalization(name="before_any_channel")(inputs)
    x = layers.Conv1D(8, 3, name="conv")(x)
    x = layers.ConvLSTM1D(6, 3, name="memory")(layers.Reshape((2, 5, 8))(x))
    model = keras.Model(inputs, layers.Dense(3, name="head")(x))
    (sentence,) = trace_channels(model).left_whole
    assert sentence == "memory (ConvLSTM1D): no rule knows it, so that all that goes in and out stays"
