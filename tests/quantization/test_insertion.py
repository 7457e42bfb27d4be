"""The model that is quantised computes what the trained one does, without BatchNorm."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.deploy.convert import convert_litert
from pocketkube.distillation.observed import Observed, features_of
from pocketkube.errors import UserError
from pocketkube.graph.kernels import kernels_of
from pocketkube.keras_private import flat_layers, mask_of, origin
from pocketkube.litert.running import LiteRTModel
from pocketkube.models import build_model
from pocketkube.quantization.fake_quantize import FakeQuantize
from pocketkube.quantization.insertion import prepare
from pocketkube.quantization.quantize import quantize
from pocketkube.spec.sections import QuantizeWeights


def settled(model: keras.Model, seed: int = 0) -> keras.Model:
    """Statistics and biases as training might leave them, so that folding has something to do."""
    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(size=shape) * 0.1)
            layer.moving_variance.assign(rng.uniform(0.5, 2.0, shape))
            if layer.scale:
                layer.gamma.assign(rng.normal(size=shape) + 1)
            if layer.center:
                layer.beta.assign(rng.normal(size=shape) * 0.1)
    return model


def separable() -> keras.Model:
    x = inputs = keras.Input((16, 16, 3))
    x = layers.SeparableConv2D(8, 3, strides=2, depth_multiplier=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.Activation("swish")(x)
    x = layers.SeparableConv2D(6, 3, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(layers.Flatten()(x)))


def before_activation() -> keras.Model:
    """BatchNorm that no layer can take up: after a sum, and after one that is read twice."""
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    y = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same")(y)])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.AveragePooling2D(2)(x)
    x = layers.Concatenate()([x, layers.MaxPooling2D()(y)])
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def nested_and_shared() -> keras.Model:
    tower = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(4, 3, use_bias=False, name="one"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2DTranspose(5, 3, strides=2, name="two"),
            layers.BatchNormalization(),
        ],
        name="tower",
    )
    left, right = keras.Input((8, 8, 2)), keras.Input((8, 8, 2))
    x = layers.Concatenate()([tower(left), tower(right)])
    x = layers.Flatten()(x * 2.0 + 1.0)
    return keras.Model([left, right], {"a": layers.Dense(3)(x), "b": layers.Dense(2, "tanh")(x)})


def border() -> keras.Model:
    """Operations that belong together, on both sides of a nested model's border."""
    inner = keras.Input((8, 8, 4), name="inner")
    x = layers.AveragePooling2D(2)(layers.ReLU()(layers.BatchNormalization(name="norm")(inner)))
    body = keras.Model(inner, layers.Conv2D(6, 3, name="last")(x), name="body")
    only = keras.Sequential(
        [keras.Input((2, 2, 6)), layers.BatchNormalization(name="norm")], name="only"
    )
    inputs = keras.Input((8, 8, 3))
    x = only(body(layers.Conv2D(4, 3, padding="same", name="first")(inputs)))
    x = layers.AveragePooling2D(2)(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def wrapped() -> keras.Model:
    """Layers in wrappers, one of them around another, one around a model."""
    frame = keras.Sequential(
        [keras.Input((8, 8, 2)), layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization()],
        name="frame",
    )
    inputs = keras.Input((5, 8, 8, 2))
    x = layers.TimeDistributed(frame, name="frames")(inputs)
    x = layers.TimeDistributed(layers.ReLU())(x)
    conv = layers.SpectralNormalization(layers.Conv2D(6, 3, name="conv"), name="inner")
    x = layers.TimeDistributed(conv, name="both")(x)
    x = layers.TimeDistributed(layers.BatchNormalization())(x)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = layers.SpectralNormalization(layers.Dense(6, activation="tanh", name="dense"), name="alone")(x)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def one_dimension() -> keras.Model:
    x = inputs = keras.Input((20, 3))
    x = layers.BatchNormalization()(layers.Conv1D(6, 3)(x))
    x = layers.BatchNormalization()(layers.DepthwiseConv1D(3, depth_multiplier=2)(x))
    x = layers.BatchNormalization()(layers.Dense(5, use_bias=False)(layers.Flatten()(x)))
    return keras.Model(inputs, x)


def after_dense() -> keras.Model:
    """BatchNorm and Rescaling of images, of rows and of single numbers."""
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Rescaling(1 / 128, offset=-1)(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(layers.Reshape((-1, 4))(x))
    x = layers.Dense(8, activation="relu")(layers.Flatten()(x))
    x = layers.Dropout(0.2)(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(3)(x))


def of_two_sizes() -> keras.Model:
    """A Rescaling of images in colour and in grey, and a convolution of images and of smaller ones."""
    scaled, apart = layers.Rescaling(1 / 128, name="scaled"), layers.SeparableConv2D(4, 3, name="apart")
    colour, grey = keras.Input((8, 8, 3)), keras.Input((8, 8, 1))
    both = layers.Concatenate()([scaled(colour), scaled(grey)])
    large, small = apart(both), apart(layers.MaxPooling2D()(both))
    means = [layers.GlobalAveragePooling2D()(x) for x in (large, small)]
    return keras.Model([colour, grey], layers.Dense(3)(layers.Concatenate()(means)))


TAKE_UP = {*(f"{kind}Conv2D" for kind in ("", "Separable", "Depthwise")), "Conv2DTranspose"} | {
    *("Conv1D", "DepthwiseConv1D", "Dense")
}
NETWORKS = {
    "after_dense": after_dense,
    "resnet20": lambda: build_model("resnet20", (16, 16, 3), 10),
    "mobilenet_v1": lambda: build_model("mobilenet_v1", (32, 32, 3), 10, width=0.25),
    "mobilenet_v2": lambda: build_model("mobilenet_v2", (32, 32, 3), 10, width=0.25),
    "separable": separable,
    "before_activation": before_activation,
    "nested_and_shared": nested_and_shared,
    "one_dimension": one_dimension,
    "border": border,
    "of_two_sizes": of_two_sizes,
}


@pytest.fixture
def double_precision() -> Iterator[None]:
    """In single precision, rounding alone grows to a thousandth through fifty layers."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("name", [*NETWORKS, "wrapped"])
@pytest.mark.usefixtures("double_precision")
def test_the_folded_model_computes_the_same(name: str) -> None:
    model = settled((NETWORKS | {"wrapped": wrapped})[name]())
    rng = np.random.default_rng(1)
    inputs = [rng.normal(size=(8, *x.shape[1:])) for x in model.inputs]
    given = prepare(model, None).model
    wanted = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
    found = keras.tree.flatten(given(inputs if len(inputs) > 1 else inputs[0]))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    kinds = [type(layer) for layer in given._flatten_layers(include_self=False)]
    assert layers.BatchNormalization not in kinds
    assert layers.SeparableConv2D not in kinds


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("double_precision")
def test_every_layer_has_one_in_its_place(name: str) -> None:
    model = settled(NETWORKS[name]())
    prepared = prepare(model, lambda name, kind: watching(FakeQuantize(8, name=name)))
    inputs = [np.random.default_rng(1).normal(size=(4, *x.shape[1:])) for x in model.inputs]
    shapes = [x.shape[1:] for x in inputs]
    paths = features_of(model, shapes)
    assert set(prepared.renamed) == set(paths)
    before = Observed(model, list(paths))(inputs)[1]
    after = Observed(prepared.model, [prepared.renamed[path] for path in paths])(inputs)[1]
    differing = {
        path
        for path, one, other in zip(paths, before, after, strict=True)
        if one.shape != other.shape or not np.allclose(one, other, rtol=1e-9, atol=1e-9)
    }
    # Only what has taken up the BatchNorm after it gives something else.
    assert all(type(paths[path].op).__name__ in TAKE_UP for path in differing), differing
    assert len(differing) <= len(prepared.renamed) - len(set(prepared.renamed.values()))


def test_frozen_layers_stay_frozen_in_the_parts_that_they_come_in() -> None:
    inputs = keras.Input((6, 8))
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = layers.SeparableConv1D(8, 3)(x)
    model = keras.Model(inputs, layers.BatchNormalization()(x))
    for layer in model.layers:
        layer.trainable = False
    assert prepare(model, None).model.trainable_variables == []


def test_layers_keep_their_names() -> None:
    def kernels(model: keras.Model) -> list[str]:
        return [kernel.path for kernel in kernels_of(model)]

    for model in (wrapped(), border()):
        assert set(kernels(model)) == set(kernels(prepare(model, None).model))
    assert "frames/frame/conv/kernel" in kernels(wrapped())
    assert "both/inner/conv/kernel" in kernels(wrapped())
    # What becomes several is a model of its name.
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.SeparableConv2D(4, 3, name="sep")])
    assert kernels(prepare(model, None).model) == ["sep/depthwise/kernel", "sep/pointwise/kernel"]


def test_batch_normalization_is_folded_across_borders_and_in_shared_models() -> None:
    folded = prepare(border(), None).folded
    assert folded == {"body/norm": "first", "only/norm": "body/last"}
    # A tower that is called twice has its own.
    assert set(prepare(nested_and_shared(), None).folded.values()) == {"tower/one", "tower/two"}


def watching(layer: FakeQuantize) -> FakeQuantize:
    layer.observing = True
    return layer


def test_roundings_stand_where_integer_kernels_round() -> None:
    model = settled(before_activation())
    prepared = prepare(model, lambda name, kind: FakeQuantize(8, name=name))
    rounded = {layer.name.removesuffix("_quantized") for layer in prepared.roundings}
    wanted = {type(layer).__name__ for layer in model.layers if layer.name in rounded}
    # Not the sum that a BatchNorm follows, for it is read once; nor what max-pooling moves.
    assert "MaxPooling2D" not in wanted
    assert "BatchNormalization" not in wanted
    assert {"InputLayer", "ReLU", "Concatenate", "GlobalAveragePooling2D", "Dense"} <= wanted
    # An average has its input's range, but is rounded.
    calls = [len(layer._inbound_nodes) for layer in prepared.roundings]
    assert sorted(set(calls)) == [1, 2]


def test_a_gru_that_begins_with_a_state_is_not_held_between_one_and_minus_one() -> None:
    x, state = keras.Input((5, 3), name="x"), keras.Input((4,), name="state")
    given = keras.Model([x, state], layers.GRU(4, name="gru")(x, initial_state=state))
    alone = keras.Model(x, layers.GRU(4, name="gru")(x))
    asked: list[object] = []

    def kinds(name: str, kind: object) -> FakeQuantize:
        if name.startswith("gru"):
            asked.append(kind)
        return FakeQuantize(8, name=name)

    for model in (given, alone):
        prepare(settled(model), kinds)
    assert asked == ["learned", "tanh"]


def states() -> keras.Model:
    """Steps that another layer reads, states that are returned, and one that nobody uses."""
    x = keras.Input((5, 3), name="x")
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="first")(x)
    y, _ = layers.GRU(4, return_sequences=True, return_state=True, name="second")(y)
    return keras.Model(x, [layers.Dense(2, name="read")(y), h, c])


def attention() -> keras.Model:
    x = keras.Input((5, 3), name="x")
    y, scores = layers.MultiHeadAttention(2, 4, name="attention")(x, x, return_attention_scores=True)
    return keras.Model(x, [layers.Dense(2, name="read")(y), scores])


def both_ways() -> keras.Model:
    x = keras.Input((5, 3), name="x")
    _, h, _ = layers.Bidirectional(layers.GRU(4, return_state=True), name="both")(x)
    return keras.Model(x, layers.Dense(2, name="read")(h))


def parts() -> keras.Model:
    """Values that are moved are rounded where they come from."""
    x = keras.Input((4,), name="x")
    step, _, _ = keras.ops.unstack(layers.Reshape((3, 4))(layers.Dense(12, name="whole")(x)), axis=1)
    half, _ = keras.ops.split(step, 2, axis=-1)
    return keras.Model(x, layers.Dense(2, name="read")(half))


@pytest.mark.parametrize(
    ("build", "rounded", "source"),
    [
        (states, {"x": 1, "first": 3, "second": 1, "read": 1}, "second"),
        (attention, {"x": 1, "attention": 2, "read": 1}, "attention"),
        (both_ways, {"x": 1, "both": 1, "read": 1}, "both"),
        (parts, {"x": 1, "whole": 1, "read": 1}, "whole"),
    ],
    ids=["states", "attention", "both_ways", "parts"],
)
def test_each_of_several_outputs_that_is_used_is_rounded(build, rounded, source) -> None:
    model = settled(build())
    prepared = prepare(model, lambda name, kind: FakeQuantize(8, name=name))
    found = [re.sub(r"_quantized(_\d+)?$", "", layer.name) for layer in prepared.roundings]
    assert Counter(found) == rounded
    dense = [layer for layer in flat_layers(prepared.model) if isinstance(layer, layers.Dense)]
    read = next(layer for layer in dense if layer.name == "read")
    assert prepared.input_quantizers[id(read)].name.startswith(f"{source}_quantized")
    if len(model.outputs) > 1:
        assert prepared.model.output_names == model.output_names


@pytest.mark.parametrize("join", [layers.Concatenate(), lambda x: keras.ops.stack(x, axis=1)])
def test_states_that_are_joined_go_into_an_int8_file(join) -> None:
    x = keras.Input((5, 3), name="x")
    _, h, c = layers.LSTM(4, return_state=True)(x)
    both = layers.Flatten()(join([layers.Reshape((4,))(h), c]))
    model = settled(keras.Model(x, layers.Dense(2, name="read")(both)))
    images = np.random.default_rng(0).normal(size=(64, 5, 3)).astype("float32")
    quantized = quantize(model, QuantizeWeights(), [images], 0).model
    file = LiteRTModel(convert_litert(quantized, "int8", rounds_itself=True))
    answered = np.concatenate([outputs[0] for outputs in file.predict([images])])
    wanted = model.predict(images, verbose=0)
    # 8 bits are 256 steps from end to end.
    assert np.abs(answered - wanted).mean() < 2 / 256 * np.ptp(wanted)


def skipping() -> keras.Model:
    """As in a U-Net with ELU: what is skipped is read by a convolution, too."""
    image = keras.Input((8, 8, 2))
    skipped = layers.Conv2D(4, 3, padding="same", activation="elu", name="skipped")(image)
    inner = layers.UpSampling2D()(layers.Conv2D(4, 3, strides=2, padding="same", name="reads")(skipped))
    y = layers.Concatenate(name="joined")([skipped, 9 * inner])
    return keras.Model(image, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))


def moving(mover: Callable[[Any], Any]) -> Callable[[], keras.Model]:
    """What is moved on its way to the join is read by a convolution, too."""

    def build() -> keras.Model:
        image = keras.Input((8, 8, 2))
        skipped = mover(layers.Conv2D(4, 3, padding="same", activation="elu", name="skipped")(image))
        inner = layers.Conv2D(4, 3, padding="same", activation="relu", name="reads")(skipped)
        y = layers.Concatenate(name="joined")([skipped, 200 * inner])
        ends = [layers.Conv2D(4, 3, name="reads_too")(skipped), y]
        return keras.Model(image, [layers.Dense(2)(layers.GlobalAveragePooling2D()(x)) for x in ends])

    return build


MOVERS = {
    "reshape": lambda x: layers.Reshape((4, 16, 4))(x),
    "pool": lambda x: layers.MaxPooling2D()(x),
    "pad": lambda x: layers.ZeroPadding2D()(x),
    "dropout": lambda x: layers.Dropout(0.1)(x),
    "transpose": lambda x: keras.ops.transpose(x, (0, 2, 1, 3)),
    "split": lambda x: keras.ops.split(x, 2, axis=1)[0],
}


def waves() -> keras.Model:
    """As of places and times, beside the numbers that they are of."""
    places = keras.Input((4,))
    sines, most = keras.ops.sin(places), keras.ops.maximum(keras.ops.cos(places), 9 * places)
    y = layers.Concatenate(name="joined")([layers.Reshape((4,))(sines), most, places])
    return keras.Model(places, layers.Dense(2)(layers.Dense(8, activation="relu")(y)))


def in_order() -> keras.Model:
    places = keras.Input((4,))
    y = layers.Concatenate()([keras.ops.sort(places), keras.ops.exp2(places), 9 * places])
    return keras.Model(places, layers.Dense(2)(y))


def stacked() -> keras.Model:
    places = keras.Input((4,))
    one, two = layers.Dense(8)(places), layers.Dense(8)(places)
    rows = keras.ops.stack([one, 9 * two], axis=1)
    columns = keras.ops.stack([9 * two, keras.ops.sin(one)], axis=-1)
    ends = [layers.Dense(2)(layers.Flatten()(y)) for y in (rows, columns)]
    return keras.Model(places, ends)


@pytest.mark.parametrize("build", [skipping, waves, in_order, moving(MOVERS["reshape"]), stacked])
def test_what_litert_computes_in_floats_is_joined_with_other_ranges(build) -> None:
    keras.utils.set_random_seed(0)
    model = build()
    examples = np.random.default_rng(0).normal(size=(40, *model.input_shape[1:])).astype("float32")
    found = quantize(model, QuantizeWeights(), (examples,), seed=0)
    found.method.finish()
    content = convert_litert(found.model, "int8", rounds_itself=True)
    answered = zip(*LiteRTModel(content).predict([examples]), strict=True)
    wanted = keras.tree.flatten(model.predict(examples, verbose=0))
    for ours, theirs in zip(map(np.concatenate, answered), wanted, strict=True):
        assert np.square(ours - theirs).mean() < 0.01 * theirs.var()


def test_what_is_joined_and_not_there_in_litert_is_named() -> None:
    places = keras.Input((4,))
    y = layers.Concatenate()([keras.ops.arctan(places), 9 * places])
    model = keras.Model(places, layers.Dense(2)(y), name="angles")
    examples = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    quantized = quantize(model, QuantizeWeights(), (examples,), seed=0).model
    with pytest.raises(UserError, match=r"^angles: LiteRT has no operation for TensorFlow's Atan; "):
        convert_litert(quantized, "int8", rounds_itself=True)


@pytest.mark.parametrize("mover", MOVERS)
def test_a_convolution_reads_levels_of_what_is_moved_to_a_join_in_floats(mover) -> None:
    model = moving(MOVERS[mover])()
    prepared = prepare(model, lambda name, kind: FakeQuantize(8, "fixed", name=name))
    skipped, _ = prepared.model.get_layer("joined").input
    assert not isinstance(origin(skipped)[0], FakeQuantize)
    for name in ("reads", "reads_too"):
        layer = prepared.model.get_layer(name)
        assert prepared.input_quantizers[id(layer)] is origin(layer.input)[0]
        assert layer.input.shape == skipped.shape
    assert [layer.name for layer in prepared.roundings].count("skipped_quantized") == 1


def test_a_convolution_reads_levels_of_what_is_joined_in_floats() -> None:
    prepared = prepare(skipping(), lambda name, kind: FakeQuantize(8, "fixed", name=name))
    joined, reads = (prepared.model.get_layer(name).input for name in ("joined", "reads"))
    assert isinstance(origin(reads)[0], FakeQuantize)
    assert [type(origin(x)[0]) for x in joined] == [layers.Activation, FakeQuantize]


def test_masking_of_a_number_that_no_level_holds_is_refused() -> None:
    def net(value: float) -> keras.Model:
        steps = [keras.Input((5, 3)), layers.Masking(value, name="padding"), layers.LSTM(4)]
        return keras.Sequential(steps)

    prepare(net(0.0), lambda name, kind: FakeQuantize(8, name=name))
    with pytest.raises(UserError, match="padding masks the value -1, which is no level"):
        prepare(net(-1.0), lambda name, kind: FakeQuantize(8, name=name))


@pytest.mark.usefixtures("double_precision")
def test_batch_normalization_of_another_axis_is_not_folded() -> None:
    inputs = keras.Input((8, 6, 8))
    x = layers.SeparableConv2D(8, 3, padding="same", data_format="channels_first")(inputs)
    assert prepare(keras.Model(inputs, layers.BatchNormalization(axis=-1)(x)), None).folded == {}


def test_parts_of_a_separable_convolution_have_its_settings() -> None:
    settings = {
        "dtype": "mixed_float16",
        "trainable": False,
        "depthwise_regularizer": keras.regularizers.L2(0.1),
        "pointwise_regularizer": keras.regularizers.L2(0.2),
        "bias_regularizer": keras.regularizers.L2(0.3),
        "activity_regularizer": keras.regularizers.L2(0.4),
        "depthwise_constraint": keras.constraints.NonNeg(),
        "pointwise_constraint": keras.constraints.NonNeg(),
    }
    x = inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3, name="one", **settings)(x)
    x = layers.SeparableConv2D(4, 3, name="other", **settings)(x)
    model = prepare(keras.Model(inputs, layers.BatchNormalization()(x)), None).model

    def of_parts(name: str) -> list[list[float | None]]:
        parts = model.get_layer(name).layers[1:]
        assert not any(part.trainable_variables for part in parts)
        assert {part.dtype_policy.name for part in parts} == {"mixed_float16"}
        regularizers = ("kernel", "depthwise", "bias", "activity")
        found = [[getattr(p, f"{each}_regularizer", None) for each in regularizers] for p in parts]
        return [[each and round(float(each.l2), 3) for each in part] for part in found]

    wanted = [[None, 0.1, None, None], [0.2, None, 0.3, 0.4]]
    assert of_parts("one") == of_parts("other") == wanted
    # The kernel that takes up a BatchNorm has another scale than the one that a constraint is of.
    depthwise, pointwise = model.get_layer("one").layers[1:]
    assert depthwise.depthwise_constraint is not None
    assert pointwise.kernel_constraint is not None
    depthwise, pointwise = model.get_layer("other").layers[1:]
    assert depthwise.depthwise_constraint is not None
    assert pointwise.kernel_constraint is None


@pytest.mark.parametrize("scaling", [layers.BatchNormalization(), layers.Rescaling(2.0)])
def test_what_scales_steps_hands_on_which_of_them_count(scaling: keras.layers.Layer, recwarn) -> None:
    x = words = keras.Input((4,), dtype="int32")
    x = scaling(layers.Embedding(9, 3, mask_zero=True)(x))
    prepared = prepare(
        keras.Model(words, layers.Dense(2)(x)), lambda name, kind: FakeQuantize(name=name)
    )
    outputs = prepared.model(np.array([[5, 1, 0, 0]]))
    assert np.asarray(mask_of(outputs)).tolist() == [[True, True, False, False]]
    assert not [each for each in recwarn if "mask" in str(each.message)]
