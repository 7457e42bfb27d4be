import json

import keras
import pytest
import tensorflow as tf
from keras import layers, ops
from rich.console import Console

from pocketkube.errors import UserError
from pocketkube.graph.calls import layer_calls
from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.profile_table import render_profile
from pocketkube.graph.traced import count_traced
from pocketkube.quantization.fake_quantize import FakeQuantize
from tests.graph.tensorflow_profiler import float_operations


def single(layer, *shapes):
    inputs = [keras.Input(shape) for shape in shapes]
    return keras.Model(inputs, layer(*inputs))


# Each number: positions of the output (of the input where transposed) x products for one position.
@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (layers.Conv1D(5, 3), (10, 4), 8 * 3 * 4 * 5),
        (layers.Conv1D(5, 3, padding="causal"), (10, 4), 10 * 3 * 4 * 5),
        (layers.Conv2D(5, 3), (8, 8, 4), 6 * 6 * 9 * 4 * 5),
        (layers.Conv2D(5, 3, strides=2, padding="same"), (9, 9, 4), 5 * 5 * 9 * 4 * 5),
        (layers.Conv2D(5, 3, dilation_rate=2), (9, 9, 4), 5 * 5 * 9 * 4 * 5),
        (layers.Conv2D(6, (3, 1), groups=2), (8, 8, 4), 6 * 8 * 3 * 2 * 6),
        (layers.Conv3D(5, 2), (4, 4, 4, 3), 27 * 8 * 3 * 5),
        (layers.DepthwiseConv1D(3, depth_multiplier=2), (10, 4), 8 * 3 * 4 * 2),
        (layers.DepthwiseConv2D(3, strides=2), (9, 9, 4), 4 * 4 * 9 * 4),
        (layers.SeparableConv1D(6, 3), (10, 4), 8 * (3 * 4 + 4 * 6)),
        (
            layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same"),
            (8, 8, 4),
            64 * (9 * 4 * 2 + 8 * 6),
        ),
        (layers.Conv1DTranspose(5, 3, strides=2), (10, 4), 10 * 3 * 4 * 5),
        (layers.Conv2DTranspose(5, 3, strides=2, padding="same"), (8, 8, 4), 64 * 9 * 4 * 5),
        (layers.Conv3DTranspose(5, 2), (2, 2, 2, 3), 8 * 8 * 3 * 5),
        (layers.Dense(7), (4,), 4 * 7),
        (layers.Dense(7), (5, 3, 4), 15 * 4 * 7),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 6)), (5, 4), 5 * 4 * 2 * 6),
        (layers.EinsumDense("...x,xy->...y", 7), (5, 4), 5 * 4 * 7),
        (layers.Embedding(100, 8), (6,), 0),
        (layers.LSTM(6), (5, 4), 5 * (4 * 24 + 6 * 24)),
        (layers.GRU(6), (5, 4), 5 * (4 * 18 + 6 * 18)),
        (layers.SimpleRNN(6), (5, 4), 5 * (4 * 6 + 6 * 6)),
        (layers.BatchNormalization(), (8, 8, 4), 0),
        (layers.LayerNormalization(), (8, 4), 0),
        (layers.GroupNormalization(2), (8, 8, 4), 0),
        (layers.RMSNormalization(), (8, 4), 0),
        (layers.PReLU(), (8, 4), 0),
        (layers.MaxPooling2D(), (8, 8, 4), 0),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, layers.Layer) else None,
)
def test_multiply_adds_and_parameters_of_a_layer(layer, shape, macs):
    model = single(layer, shape)
    profile = profile_model(model)
    assert profile.macs == macs
    assert profile.parameters == model.count_params()
    assert profile.unknown == ()


def test_a_convolution_of_channels_first_counts_the_same_positions():
    inputs = keras.Input((4, 8, 8))
    convolution = layers.Conv2D(5, 3, data_format="channels_first")
    model = keras.Model(inputs, convolution(inputs))
    assert profile_model(model).macs == 6 * 6 * 9 * 4 * 5


def test_attention_counts_projections_scores_and_weighted_sum():
    query, value = keras.Input((5, 8)), keras.Input((7, 6))
    attention = layers.MultiHeadAttention(2, key_dim=3, value_dim=4)
    profile = profile_model(keras.Model([query, value], attention(query, value)))
    projections = 5 * 8 * 2 * 3 + 7 * 6 * 2 * 3 + 7 * 6 * 2 * 4 + 5 * 2 * 4 * 8
    assert profile.macs == projections + 2 * 5 * 7 * (3 + 4)


def test_attention_by_keywords_tells_query_key_and_value_apart():
    query, value, key = keras.Input((5, 8)), keras.Input((7, 6)), keras.Input((7, 10))
    attention = layers.MultiHeadAttention(2, key_dim=3, value_dim=4)
    model = keras.Model([query, value, key], attention(value=value, key=key, query=query))
    projections = 5 * 8 * 2 * 3 + 7 * 10 * 2 * 3 + 7 * 6 * 2 * 4 + 5 * 2 * 4 * 8
    assert profile_model(model).macs == projections + 2 * 5 * 7 * (3 + 4)


def test_attention_over_one_axis_of_an_image():
    inputs = keras.Input((4, 5, 8))
    attention = layers.MultiHeadAttention(2, key_dim=3, attention_axes=(1,))
    profile = profile_model(keras.Model(inputs, attention(inputs, inputs)))
    assert profile.macs == 4 * 20 * 8 * 6 + 2 * 5 * 4 * 4 * (3 + 3)


def test_grouped_query_attention_projects_fewer_keys_and_values():
    inputs = keras.Input((5, 8))
    attention = layers.GroupQueryAttention(head_dim=3, num_query_heads=4, num_key_value_heads=2)
    profile = profile_model(keras.Model(inputs, attention(inputs, inputs)))
    assert profile.macs == 5 * 8 * 3 * (4 + 2 + 2 + 4) + 4 * 5 * 5 * (3 + 3)


@pytest.mark.parametrize(
    ("attention", "products"),
    [
        (layers.Attention(), 2),
        (layers.Attention(use_scale=True), 2),
        # Scores are sums over channels.
        (layers.Attention(score_mode="concat"), 1),
        (layers.Attention(score_mode="concat", use_scale=True), 1),
        (layers.AdditiveAttention(), 1),
        (layers.AdditiveAttention(use_scale=False), 1),
    ],
    ids=["dot", "dot scaled", "concat", "concat scaled", "additive scaled", "additive"],
)
def test_attention_without_kernels_takes_what_tensorflow_s_graph_does(attention, products):
    query, value, key = keras.Input((5, 24)), keras.Input((7, 24)), keras.Input((7, 24))
    model = keras.Model([query, value, key], attention([query, value, key]))
    (call,) = layer_calls(model)
    traced = count_traced(call)
    (layer,) = profile_model(model).layers
    assert (layer.macs, traced.uncounted) == (traced.macs, ())
    assert layer.macs == 5 * 7 * 24 * products
    assert profile_model(model).flops == float_operations(model)


def test_products_of_tensors():
    one, other = keras.Input((5, 4)), keras.Input((4, 6))
    model = keras.Model(
        [one, other],
        [
            ops.matmul(one, other),
            ops.einsum("bij,bjk->bik", one, other),
            layers.Dot(axes=(2, 1))([one, other]),
        ],
    )
    assert [layer.macs for layer in profile_model(model).layers] == [5 * 4 * 6] * 3


@pytest.mark.parametrize(
    ("equation", "macs"),
    [
        # Keys and values are multiplied first, as TensorFlow does.
        ("btc,bsc,bsd->btd", 7 * 4 * 4 + 7 * 4 * 4),
        ("btc,bsc->bts", 7 * 7 * 4),
        ("btc->bct", 0),
        ("btc->bt", 0),
    ],
)
def test_products_of_an_einsum_of_any_number_of_tensors(equation, macs):
    inputs = keras.Input((7, 4))
    x = layers.Dense(6)(inputs)
    made = [layers.Dense(4)(x) for _ in equation.split(",")]
    model = keras.Model(inputs, ops.einsum(equation, *made))
    profile, costs = profile_model(model), cost_model_of(model)
    (einsum,) = (layer for layer in profile.layers if layer.kind == "Einsum")
    assert (einsum.macs, einsum.uncounted) == (macs, ())
    assert costs.macs(costs.sizes) == profile.macs


def test_a_shared_layer_multiplies_at_each_call_and_has_its_weights_once():
    one, other = keras.Input((8, 8, 3)), keras.Input((4, 4, 3))
    shared = layers.Conv2D(5, 3, name="shared")
    profile = profile_model(keras.Model([one, other], [shared(one), shared(other)]))
    (layer,) = profile.layers
    assert (layer.name, layer.kind, layer.calls) == ("shared", "Conv2D", 2)
    assert layer.macs == (36 + 4) * 27 * 5
    assert layer.parameters == profile.parameters == 27 * 5 + 5
    assert layer.activation_bytes == (36 + 4) * 5 * 4


def test_a_nested_model_counts_at_each_call_with_the_shapes_it_gets_there():
    inner = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(5, 3, name="conv")], name="backbone"
    )
    one, other = keras.Input((8, 8, 3)), keras.Input((4, 4, 3))
    profile = profile_model(keras.Model([one, other], [inner(one), inner(other)]))
    (layer,) = profile.layers
    assert (layer.name, layer.calls) == ("backbone/conv", 2)
    assert layer.macs == (36 + 4) * 27 * 5
    assert profile.parameters == 27 * 5 + 5


def test_activations_have_the_size_of_their_number_type():
    inputs = keras.Input((8, 4))
    half = layers.Dense(6, dtype="mixed_float16", name="half")(inputs)
    full = layers.Dense(6, name="full")(half)
    sizes = {x.name: x.activation_bytes for x in profile_model(keras.Model(inputs, full)).layers}
    assert (sizes["half"], sizes["full"]) == (8 * 6 * 2, 8 * 6 * 4)


class Spectrum(layers.Layer):
    """Multiplies in an operation that no rule knows."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, inputs):
        return ops.real(tf.signal.fft(tf.cast(inputs * self.scale, tf.complex64)))


def test_an_open_shape_is_refused_with_the_input_and_the_remedy():
    inputs = keras.Input((None, None, 3), name="photo")
    model = keras.Model(inputs, layers.Conv2D(4, 3)(inputs), name="net")
    with pytest.raises(UserError, match=r"input photo of net has the shape .*fixed input shape"):
        profile_model(model)


def test_a_subclassed_model_is_refused():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UserError, match=r"Mine.*functional API"):
        profile_model(Mine())


def test_a_profile_is_ready_for_json_and_adds_up():
    model = keras.applications.MobileNetV2(input_shape=(32, 32, 3), weights=None, classes=10)
    profile = profile_model(model)
    facts = json.loads(json.dumps(profile.to_dict()))
    for figure in ("macs", "parameters", "activation_bytes"):
        assert facts[figure] == sum(layer[figure] for layer in facts["layers"])
    assert facts["parameters"] == model.count_params()
    assert facts["flops"] == profile.flops > 2 * profile.macs


def test_the_table_shows_shares_and_a_total_and_marks_the_unknown():
    inputs = keras.Input((4,))
    x = layers.Dense(6, name="wide")(inputs)
    x = layers.ReLU(name="costs_nothing")(x)
    x = Spectrum(name="mine")(layers.Dense(2, name="narrow")(x))
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(render_profile(profile_model(keras.Model(inputs, x))))
    text = console.export_text()
    rows = {line.split()[0]: line for line in text.splitlines() if line.strip()}
    assert "66.7 %" in rows["wide"]
    assert "33.3 %" in rows["narrow"]
    assert rows["mine"].split() == ["mine", "Spectrum", "2", "at", "least", "0", "2"]
    assert rows["total"].split() == ["total", "at", "least", "36", "100.0", "%", "46"]
    assert "at least 82 float operations" in rows["at"]
    assert "Not counted in mine (Spectrum): the operation FFT." in text
    assert "costs_nothing" not in rows


NETWORKS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 64,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 64,
    "ResNet50V2": 32,
    "VGG16": 32,
    "Xception": 71,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_float_operations_are_those_tensorflow_counts(name):
    size = NETWORKS[name]
    model = getattr(keras.applications, name)(input_shape=(size, size, 3), weights=None)
    ours, theirs = profile_model(model).flops, float_operations(model)
    print(f"{name:18} {size:3} {ours:15,} {theirs:15,} {ours / theirs - 1:+.4%}")
    assert ours == pytest.approx(theirs, rel=0.01)


# Where the profiler knows the operation, small networks leave no place for a mistake to hide.
@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(5, 3, dilation_rate=2, activation="silu"),
        layers.Conv2D(6, 3, groups=2),
        layers.Conv2DTranspose(5, 2, strides=2),
        layers.SeparableConv2D(6, 3, depth_multiplier=2),
        layers.Dense(7, activation="softmax"),
        layers.AveragePooling2D(3, strides=2),
        layers.GlobalAveragePooling2D(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_float_operations_of_a_layer_are_those_tensorflow_counts(layer):
    model = single(layer, (8, 8, 4))
    assert profile_model(model).flops == pytest.approx(float_operations(model), rel=0.01)


def test_float_operations_of_attention_are_those_tensorflow_counts_and_the_scores():
    inputs = keras.Input((16, 32))
    model = keras.Model(inputs, layers.MultiHeadAttention(4, 8)(inputs, inputs))
    # The profiler has no figure for the einsum of the scores and that of the weighted sum.
    einsums = 2 * 4 * 16 * 16 * (8 + 8)
    counted = float_operations(model)
    assert profile_model(model).flops - einsums == pytest.approx(counted, rel=0.01)


def test_the_steps_of_roundings_are_no_parameters():
    inputs = keras.Input((4,))
    profile = profile_model(keras.Model(inputs, FakeQuantize()(layers.Dense(3)(inputs))))
    assert profile.parameters == 4 * 3 + 3
