"""What Keras's private names have to give: the first test to look at with a new Keras."""

import keras
import numpy as np
from keras import layers

from pocketkube import keras_private as private


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="inside")], name="inner")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    x = layers.Add(name="add")([inner(a), inner(b)])
    return keras.Model({"b": b, "a": a}, {"sum": x}, name="outer")


def test_a_functional_model_shows_its_calls_and_structure() -> None:
    model = nested()
    assert private.has_graph(model)
    assert isinstance(model, private.Functional)
    assert not private.has_graph(layers.Dense(2))
    depths = private.nodes_by_depth(model)
    assert [node.operation.name for node in depths[0]] == ["add"]
    assert sorted(node.operation.name for node in depths[max(depths)]) == ["a", "b"]
    assert sorted(private.inputs_structure(model)) == ["a", "b"]
    assert private.outputs_structure(model)["sum"] is model.outputs[0]


def test_a_sequential_model_has_a_functional_one_within() -> None:
    model = nested()
    inner = private.functional_of(model.get_layer("inner"))
    assert private.has_graph(inner)
    assert private.functional_of(model) is None
    assert private.inputs_structure(layers.Dense(2)) is None


def test_a_tensor_says_where_it_comes_from() -> None:
    model = nested()
    operation, call, place = private.origin(model.outputs[0])
    assert (operation.name, call, place) == ("add", 0, 0)
    taken = private.calls_of(operation)[call].input_tensors
    assert [private.origin(tensor)[0].name for tensor in taken] == ["inner", "inner"]
    # Its own call is one of three.
    assert len(private.calls_of(model.get_layer("inner"))) >= 2


def test_layers_and_variables_of_a_model() -> None:
    model = nested()
    names = [layer.name for layer in private.flat_layers(model)]
    assert names[0] == "outer"
    assert names.count("inside") == 1
    assert "outer" not in [layer.name for layer in private.flat_layers(model, include_self=False)]
    assert [layer.name for layer in private.inner_layers(model)] == [
        layer.name for layer in model.layers
    ]
    norm = layers.BatchNormalization()
    norm.build((None, 4))
    assert [variable.name for variable in private.own_variables(norm)] == [
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
    ]


def test_a_layer_is_frozen_alone() -> None:
    wrapper = layers.TimeDistributed(layers.Dense(2))
    wrapper.build((None, 3, 4))
    private.set_trainable_alone(wrapper, False)
    assert not wrapper.trainable
    assert wrapper.layer.trainable
    assert all(variable.trainable for variable in wrapper.layer.variables)


def test_parts_of_attention() -> None:
    attention = layers.MultiHeadAttention(2, 3, output_shape=5, attention_axes=(1,))
    x = keras.Input((6, 4))
    attention(x, x)
    assert private.attention_output_shape(attention) == (5,)
    assert private.attention_axes(attention) == (1,)
    shapes = {
        name: private.attention_projection(attention, name).kernel.shape
        for name in ("query", "key", "value", "output")
    }
    assert shapes == {"query": (4, 2, 3), "key": (4, 2, 3), "value": (4, 2, 3), "output": (2, 3, 5)}


def test_shapes_without_computing() -> None:
    spec = private.computed_spec(lambda x: keras.ops.reshape(x, (1, 6)), keras.KerasTensor((2, 3)))
    assert spec.shape == (1, 6)


def test_a_shared_layer_is_written_down_once() -> None:
    layer = layers.Dense(2, name="shared")
    with private.ObjectSharingScope():
        private.serialize_keras_object(layer)
        again = private.serialize_keras_object(layer)
        other = layers.Dense(2)
        private.record_object_after_deserialization(other, id(layer))
        assert keras.saving.deserialize_keras_object(again) is other


def test_layers_of_applications_and_names() -> None:
    assert private.to_snake_case("BatchNormalization") == "batch_normalization"
    assert private.LayerScale(1e-6, 4).projection_dim == 4
    assert private.StochasticDepth(0.1).drop_path_rate == 0.1
    assert private.CustomScaleLayer(0.5).scale == 0.5


def test_the_losses_that_a_model_was_compiled_with() -> None:
    model = nested()
    model.compile(loss={"sum": keras.losses.Huber(delta=0.5)}, loss_weights={"sum": 2.0})
    loss, weights = private.compiled_loss(model)
    assert private.loss_arguments(loss["sum"]) == {"delta": 0.5}
    assert weights == {"sum": 2.0}
    assert private.loss_arguments(object()) == {}
    resolved = private.CompileLoss(loss, weights, output_names=["sum"])
    outputs = {"sum": model.outputs[0]}
    resolved.build(outputs, outputs)
    ((path, one, weight, _),) = private.flat_losses(resolved)
    assert (list(path), one, weight) == (["sum"], loss["sum"], 2.0)


def test_variables_are_told_of_before_they_are_made() -> None:
    told: list[int] = []
    with private.telling_of_variables(told.append):
        keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()])
    assert told == [12, 3, 3, 3, 3, 3]
    layers.Dense(3).build((1, 4))
    assert len(told) == 6


def test_an_optimizer_knows_its_variables_by_their_places() -> None:
    optimizer = keras.optimizers.SGD(weight_decay=0.1)
    one, other = layers.Dense(3), layers.Dense(3)
    for layer in (one, other):
        layer.build((1, 4))
    trained = [one.kernel, other.kernel, other.bias]
    optimizer.exclude_from_weight_decay(var_list=[other.bias])
    optimizer.build(trained)
    assert [private.place_among(optimizer, each) for each in trained] == [0, 1, 2]
    assert [private.has_weight_decay(optimizer, each) for each in trained] == [True, True, False]
    # An optimizer's own steps see TensorFlow's variables.
    assert private.place_among(optimizer, other.kernel.value) == 1
    assert not private.has_weight_decay(optimizer, other.bias.value)


def test_masks_and_operations() -> None:
    embedded = layers.Embedding(5, 3, mask_zero=True)(np.array([[1, 2, 0]]))
    assert np.asarray(private.mask_of(embedded)).tolist() == [[True, True, False]]
    assert private.mask_of(layers.Dense(2)(np.zeros((1, 2)))) is None
    added = keras.Input((2,)) + 1.0
    assert private.is_operation(private.origin(added)[0])
    assert not private.is_operation(private.origin(nested().outputs[0])[0])


def test_a_batchs_moments_are_others_within_a_block_alone() -> None:
    layer = layers.BatchNormalization(epsilon=0.0, momentum=0.0)
    x = np.array([[1.0, 2.0], [3.0, 6.0]], "float32")
    before = layer(x, training=True)
    seen: list[object] = []

    def change(mean: object, variance: object, inputs: object, mask: object) -> tuple[object, object]:
        seen.extend([*np.asarray(mean), *np.asarray(variance), np.asarray(inputs).shape, mask])
        return mean - 1.0, variance * 4.0

    with private.changed_moments(layer, change):
        np.testing.assert_allclose(layer(x, training=True), [[0, -0.25], [1, 0.75]], atol=1e-6)
        # Nothing of a batch counts where it is not trained.
        layer(x)
    assert seen == [2, 4, 1, 4, (2, 2), None]
    np.testing.assert_allclose(layer.moving_mean, [1, 3])
    np.testing.assert_array_equal(layer(x, training=True), before)


def test_what_cells_read_of_their_state_is_masked_within_a_block_alone() -> None:
    layer = layers.GRU(3, dropout=0.5)
    x = np.ones((2, 4, 2), "float32")
    before = layer(x)
    states: list[tuple[int, ...]] = []

    def nothing(cell: object, state: object) -> object:
        states.append(tuple(state.shape))
        return keras.ops.zeros_like(state)

    with private.masked_states([layer.cell], nothing):
        masked = layer(x, training=True)
    kernel, recurrent_kernel, bias = layer.get_weights()
    np.testing.assert_array_equal(layer(x), before)
    # The same without what reads the state.
    layer.set_weights([kernel, np.zeros_like(recurrent_kernel), bias])
    np.testing.assert_allclose(masked, layer(x), atol=1e-6)
    assert states == [(2, 3)]
