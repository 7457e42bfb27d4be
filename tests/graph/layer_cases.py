"""Networks of one layer or operation each, between layers that make channels and that read them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from pocketkube.keras_private import origin

SEQUENCE, IMAGE, VOLUME, VECTOR = (12, 4), (8, 8, 3), (4, 4, 4, 2), (6,)
CHANNELS = 8


@dataclass(frozen=True)
class Case:
    """One operation in a network.

    Attributes:
        name: What it is called in tests.
        shape: Of the network's input.
        apply: From the tensor with channels that may go, and a function that makes another one, to what
            is computed of it.
        held: Words of the reason for which channels stay; empty where they may go.
        partly: Whether others of the same tensor may go.
        reads_all: Whether it reads channels that go otherwise than as zeros: a mean over them.
        estimated: Whether its multiply-adds are estimated where channels go.
    """

    name: str
    shape: tuple[int, ...]
    apply: Callable[[Any, Callable[[], Any]], Any]
    held: str = ""
    partly: bool = False
    reads_all: bool = False
    estimated: bool = False

    def network(self) -> keras.Model:
        """The operation after one layer that makes channels and before others that read them."""
        keras.utils.set_random_seed(0)
        inputs = keras.Input(self.shape)
        makers = {2: layers.Dense, 3: layers.Conv1D, 4: layers.Conv2D, 5: layers.Conv3D}
        count = 0

        def made() -> Any:
            nonlocal count
            count += 1
            size = () if len(self.shape) == 1 else (1,)
            maker = makers[len(self.shape) + 1]
            return maker(CHANNELS, *size, activation="relu", name=f"maker{count}")(inputs)

        x = self.apply(made(), made)
        x = layers.Dense(6, name="reader")(x)
        x = layers.Flatten()(x) if len(x.shape) > 2 else x
        model = keras.Model(inputs, layers.Dense(3, name="head")(x), name="network")
        rng = np.random.default_rng(0)
        for weight in model.weights:
            low = 0.5 if "variance" in weight.path else -1.0
            weight.assign(rng.uniform(low, 1.0, weight.shape))
        for each in model.layers:
            if isinstance(each, layers.Normalization):
                # It computes from copies of its variables.
                each.finalize_state()
        return model


def layer(name: str, shape: tuple[int, ...], make: Callable[[], Any], **more: Any) -> Case:
    """A case of a layer with one input."""
    return Case(name, shape, lambda x, other: make()(x), **more)


def operation(name: str, shape: tuple[int, ...], of: Callable[[Any], Any], **more: Any) -> Case:
    """A case of an operation with one input."""
    return Case(name, shape, lambda x, other: of(x), **more)


def adapted_normalization() -> keras.Layer:
    made = layers.Normalization()
    made.adapt(np.random.default_rng(0).normal(3, 2, (64, 12, CHANNELS)))
    return made


def pixel_shuffle(x: Any) -> Any:
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, width, 2, 2, channels // 4))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))


def channel_shuffle(x: Any) -> Any:
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height, width, 2, channels // 2))
    return ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3)), (-1, height, width, channels))


def self_attention(x: Any, other: Callable[[], Any]) -> Any:
    query, key, value = (
        layers.EinsumDense("abc,cde->abde", (12, 2, 4), name=name)(x) for name in "qkv"
    )
    scores = ops.softmax(ops.einsum("aqhd,akhd->ahqk", query, key))
    mixed = ops.einsum("ahqk,akhd->aqhd", scores, value)
    return layers.EinsumDense("abde,def->abf", (12, 8), bias_axes="f", name="out")(mixed)


def masked_attention(x: Any, other: Callable[[], Any]) -> Any:
    inputs = origin(x)[0].input
    mask = ops.greater(ops.matmul(inputs, ops.transpose(inputs, (0, 2, 1))), 0.0)
    # Keras has the mask before the key then: arguments with names are in alphabetical order.
    return layers.MultiHeadAttention(2, 4)(x, x, key=other(), attention_mask=mask)


def dot_attention(x: Any, other: Callable[[], Any]) -> Any:
    key = other()
    scores = ops.softmax(ops.matmul(x, ops.transpose(key, (0, 2, 1))))
    return ops.matmul(scores, other())


def fold(x: Any) -> Any:
    y = layers.Dense(5, name="folded")(ops.reshape(x, (-1, 8)))
    return ops.reshape(y, (-1, 12, 5))


def relu_at_two_places(x: Any, other: Callable[[], Any]) -> Any:
    relu = layers.ReLU()
    return relu(layers.Conv1D(8, 3, name="between")(relu(x)))


def joining_at_two_places(x: Any, other: Callable[[], Any]) -> Any:
    concatenate, drop, add = layers.Concatenate(), layers.Dropout(0.1), layers.Add()
    y = layers.Conv1D(5, 1, name="narrow")(other())
    both = drop(concatenate([x, y]))
    wide = layers.Conv1D(13, 1, name="wide")(drop(add([other(), x])))
    return concatenate([drop(add([both, wide])), y])


def rescaling_at_two_places(x: Any, other: Callable[[], Any]) -> Any:
    rescaling = layers.Rescaling(2.0, offset=np.linspace(0, 1, 8))
    return rescaling(layers.Conv1D(8, 3, name="between")(rescaling(x)))


def attention_at_two_places(x: Any, other: Callable[[], Any]) -> Any:
    attention = layers.Attention()
    query, key, value = (layers.Conv1D(n, 1, name=f"second{i}")(x) for i, n in enumerate((8, 8, 10)))
    return layers.Concatenate()(
        [attention([x, other(), other()]), attention([query, value, key])],
    )


CASES = [
    # Layers that make channels.
    layer("Conv1D", SEQUENCE, lambda: layers.Conv1D(8, 3, padding="causal")),
    layer("Conv1D strided", SEQUENCE, lambda: layers.Conv1D(8, 3, strides=2, padding="same")),
    layer("Conv1D groups", SEQUENCE, lambda: layers.Conv1D(8, 3, groups=2)),
    layer("Conv2D", IMAGE, lambda: layers.Conv2D(8, 3)),
    layer("Conv3D", VOLUME, lambda: layers.Conv3D(8, 2, strides=2, padding="same")),
    layer("Conv1DTranspose", SEQUENCE, lambda: layers.Conv1DTranspose(8, 3, strides=2)),
    layer("Conv2DTranspose", IMAGE, lambda: layers.Conv2DTranspose(8, 3, strides=2)),
    layer("Conv3DTranspose", VOLUME, lambda: layers.Conv3DTranspose(8, 2, strides=2)),
    layer("SeparableConv1D", SEQUENCE, lambda: layers.SeparableConv1D(8, 3, depth_multiplier=2)),
    layer("SeparableConv2D", IMAGE, lambda: layers.SeparableConv2D(8, 3)),
    layer("DepthwiseConv1D", SEQUENCE, lambda: layers.DepthwiseConv1D(3, depth_multiplier=2)),
    layer("DepthwiseConv2D", IMAGE, lambda: layers.DepthwiseConv2D(3)),
    layer("Dense", SEQUENCE, lambda: layers.Dense(8)),
    layer(
        "EinsumDense ...",
        SEQUENCE,
        lambda: layers.EinsumDense("...x,xy->...y", 8, bias_axes="y"),
    ),
    layer(
        "EinsumDense last",
        SEQUENCE,
        lambda: layers.EinsumDense("abc,cd->abd", (12, 8)),
    ),
    layer(
        "EinsumDense first",
        SEQUENCE,
        lambda: layers.EinsumDense("abc,cd->adb", (8, 12), bias_axes="db"),
        held="reader (Dense): it reads the last axis",
        partly=True,
    ),
    layer(
        "EinsumDense scale",
        SEQUENCE,
        lambda: layers.EinsumDense("abc,c->abc", (12, 8)),
    ),
    layer(
        "EinsumDense batched",
        SEQUENCE,
        lambda: layers.EinsumDense("abc,bcd->abd", (12, 8)),
    ),
    layer(
        "EinsumDense other axis",
        SEQUENCE,
        lambda: layers.EinsumDense("abc,bd->adc", (5, 8)),
    ),
    Case("EinsumDense attention", SEQUENCE, self_attention),
    Case(
        "MultiHeadAttention",
        SEQUENCE,
        lambda x, _: layers.MultiHeadAttention(2, 4)(x, x),
    ),
    Case("MultiHeadAttention with a mask", SEQUENCE, masked_attention),
    Case(
        "GroupQueryAttention",
        SEQUENCE,
        lambda x, _: layers.GroupQueryAttention(4, 4, 2)(x, x),
    ),
    Case(
        "GroupQueryAttention across",
        SEQUENCE,
        lambda x, other: layers.GroupQueryAttention(4, 4, 2)(x, other(), key=other()),
    ),
    Case(
        "Attention",
        SEQUENCE,
        lambda x, other: layers.Attention()([x, other(), other()]),
    ),
    Case(
        "Attention by sums",
        SEQUENCE,
        lambda x, other: layers.Attention(score_mode="concat", use_scale=True)([x, other(), other()]),
    ),
    Case(
        "AdditiveAttention",
        SEQUENCE,
        lambda x, other: layers.AdditiveAttention()([x, other()]),
    ),
    layer(
        "TimeDistributed",
        VOLUME,
        lambda: layers.TimeDistributed(layers.Conv2D(8, 3)),
        held="gives each step to a Conv2D",
    ),
    layer(
        "SpectralNormalization",
        IMAGE,
        lambda: layers.SpectralNormalization(layers.Conv2D(8, 3)),
        held="no rule knows it",
    ),
    # Normalisation and activations.
    layer("BatchNormalization 1D", SEQUENCE, layers.BatchNormalization),
    layer("BatchNormalization 3D", VOLUME, layers.BatchNormalization),
    layer("BatchNormalization axis", SEQUENCE, lambda: layers.BatchNormalization(axis=1)),
    layer("LayerNormalization", SEQUENCE, layers.LayerNormalization, reads_all=True),
    layer(
        "LayerNormalization all",
        SEQUENCE,
        lambda: layers.LayerNormalization(axis=[1, 2]),
        reads_all=True,
    ),
    layer("RMSNormalization", SEQUENCE, layers.RMSNormalization, reads_all=True),
    layer("GroupNormalization", SEQUENCE, lambda: layers.GroupNormalization(4)),
    layer("GroupNormalization layer", SEQUENCE, lambda: layers.GroupNormalization(1), reads_all=True),
    layer("GroupNormalization instance", SEQUENCE, lambda: layers.GroupNormalization(-1)),
    layer("UnitNormalization", SEQUENCE, layers.UnitNormalization),
    layer("UnitNormalization axis", SEQUENCE, lambda: layers.UnitNormalization(axis=1)),
    layer(
        "Normalization",
        SEQUENCE,
        lambda: layers.Normalization(mean=[0.5] * 8, variance=[2.0] * 8),
        held="numbers of its own for each channel",
    ),
    layer(
        "Normalization adapted",
        SEQUENCE,
        adapted_normalization,
        held="numbers of its own for each channel",
    ),
    layer("Rescaling", SEQUENCE, lambda: layers.Rescaling(2.0)),
    layer("Rescaling channels", SEQUENCE, lambda: layers.Rescaling(np.linspace(1, 2, 8))),
    layer("Rescaling offset", SEQUENCE, lambda: layers.Rescaling(2.0, offset=[*range(8)])),
    layer("Rescaling positions", SEQUENCE, lambda: layers.Rescaling([[0.5], [2.0]] * 6, offset=[1.0])),
    layer(
        "Masking channels",
        SEQUENCE,
        lambda: layers.Masking(np.arange(8.0)),
        held="numbers of its own for each channel",
    ),
    layer("PReLU", SEQUENCE, lambda: layers.PReLU(shared_axes=[1])),
    layer("PReLU whole", SEQUENCE, layers.PReLU),
    layer("PReLU shared", SEQUENCE, lambda: layers.PReLU(shared_axes=[1, 2])),
    layer("PReLU sharing channels", SEQUENCE, lambda: layers.PReLU(shared_axes=[2])),
    operation(
        "PReLU of columns",
        VECTOR,
        lambda x: layers.Flatten()(layers.PReLU()(layers.Reshape((8, 1))(x))),
    ),
    operation(
        "PReLU of rows",
        SEQUENCE,
        lambda x: layers.Permute((2, 1))(layers.PReLU(shared_axes=[2])(layers.Permute((2, 1))(x))),
    ),
    layer("LeakyReLU", SEQUENCE, layers.LeakyReLU),
    layer("Softmax", SEQUENCE, layers.Softmax, held="softmax mixes all channels"),
    layer("Softmax axis", SEQUENCE, lambda: layers.Softmax(axis=1)),
    layer(
        "Activation softmax",
        SEQUENCE,
        lambda: layers.Activation("softmax"),
        held="softmax mixes all channels",
    ),
    layer("AlphaDropout", SEQUENCE, lambda: layers.AlphaDropout(0.2)),
    layer("Masking", SEQUENCE, layers.Masking),
    # Pooling, padding, moving.
    layer("MaxPooling3D", VOLUME, layers.MaxPooling3D),
    layer("AveragePooling1D", SEQUENCE, lambda: layers.AveragePooling1D(2)),
    layer("GlobalMaxPooling1D", SEQUENCE, layers.GlobalMaxPooling1D),
    layer("GlobalAveragePooling3D", VOLUME, layers.GlobalAveragePooling3D),
    layer("AdaptiveAveragePooling2D", IMAGE, lambda: layers.AdaptiveAveragePooling2D(2)),
    layer("AdaptiveMaxPooling1D", SEQUENCE, lambda: layers.AdaptiveMaxPooling1D(3)),
    layer("UpSampling1D", SEQUENCE, layers.UpSampling1D),
    layer("UpSampling3D", VOLUME, layers.UpSampling3D),
    layer("ZeroPadding1D", SEQUENCE, layers.ZeroPadding1D),
    layer("ZeroPadding3D", VOLUME, layers.ZeroPadding3D),
    layer("Cropping3D", VOLUME, layers.Cropping3D),
    layer("Resizing", IMAGE, lambda: layers.Resizing(5, 5)),
    layer("CenterCrop", IMAGE, lambda: layers.CenterCrop(4, 4)),
    layer("Flatten", SEQUENCE, layers.Flatten),
    layer("Reshape", SEQUENCE, lambda: layers.Reshape((3, 4, 8))),
    layer(
        "Permute",
        SEQUENCE,
        lambda: layers.Permute((2, 1)),
        held="reader (Dense): it reads the last axis",
    ),
    layer("RepeatVector", VECTOR, lambda: layers.RepeatVector(3)),
    Case("Dot", SEQUENCE, lambda x, other: layers.Dot(2)([x, other()])),
    Case(
        "Dot other",
        SEQUENCE,
        lambda x, other: layers.Dot(1)([x, other()]),
        held="passes channels on along two axes",
    ),
    Case("Concatenate", SEQUENCE, lambda x, other: layers.Concatenate()([x, other()])),
    Case("Concatenate axis", SEQUENCE, lambda x, other: layers.Concatenate(axis=1)([x, other()])),
    # One layer without weights, called with channels that have nothing to do with each other.
    Case("ReLU at two places", SEQUENCE, relu_at_two_places),
    Case("Concatenate at two places", SEQUENCE, joining_at_two_places),
    Case("Rescaling at two places", SEQUENCE, rescaling_at_two_places),
    Case("Attention at two places", SEQUENCE, attention_at_two_places),
    # Slices.
    operation("x[:, 1:]", SEQUENCE, lambda x: x[:, 1:]),
    operation("x[:, 3]", SEQUENCE, lambda x: x[:, 3]),
    operation("x[:, ::2]", SEQUENCE, lambda x: x[:, ::2]),
    operation("x[:, None]", SEQUENCE, lambda x: x[:, None]),
    operation("x[..., :3]", SEQUENCE, lambda x: x[..., :3]),
    operation("x[..., 2:-1]", SEQUENCE, lambda x: x[..., 2:-1]),
    operation("x[..., ::-1]", SEQUENCE, lambda x: x[..., ::-1]),
    operation("x[..., 1::2]", SEQUENCE, lambda x: x[..., 1::2]),
    operation("x[..., ::3]", SEQUENCE, lambda x: x[..., ::3]),
    operation(
        "x[:, :, 2]", SEQUENCE, lambda x: x[:, :, 2], held="takes this one channel alone", partly=True
    ),
    operation("x[..., 2:3]", SEQUENCE, lambda x: x[..., 2:3]),
    operation("both halves", SEQUENCE, lambda x: layers.Concatenate()([x[..., :5], x[..., 5:] * 2])),
    operation("gated halves", SEQUENCE, lambda x: x[..., :4] * ops.sigmoid(x[..., 4:])),
    operation("ops.slice", SEQUENCE, lambda x: ops.slice(x, (0, 2, 1), (1, 3, 6))),
    operation("ops.split", SEQUENCE, lambda x: ops.add(*ops.split(x, 2, axis=-1))),
    operation(
        "ops.split at", SEQUENCE, lambda x: ops.concatenate(ops.split(x, [3], axis=-1)[::-1], -1)
    ),
    operation("ops.split axis", SEQUENCE, lambda x: ops.multiply(*ops.split(x, 2, axis=1))),
    operation(
        "ops.array_split",
        SEQUENCE,
        lambda x: ops.array_split(x, 3, axis=-1)[0],
        held="keras.ops.split has one",
    ),
    operation("ops.unstack", SEQUENCE, lambda x: ops.unstack(x, axis=1)[2]),
    operation("ops.take", SEQUENCE, lambda x: ops.take(x, [1, 3], axis=1)),
    operation("ops.take channels", SEQUENCE, lambda x: ops.take(x, [6, 1, 3], axis=-1)),
    # Moving.
    operation("ops.pad", SEQUENCE, lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0)))),
    operation(
        "ops.pad reflect", IMAGE, lambda x: ops.pad(x, ((0, 0), (1, 2), (1, 1), (0, 0)), "reflect")
    ),
    operation(
        "ops.pad value", SEQUENCE, lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=1.0)
    ),
    Case(
        "ops.pad channels",
        SEQUENCE,
        lambda x, other: layers.Add()(
            [ops.pad(x, ((0, 0), (0, 0), (2, 4))), layers.Conv1D(14, 1, name="wide")(other())]
        ),
    ),
    operation(
        "ops.pad channels reflect",
        SEQUENCE,
        lambda x: ops.pad(x, ((0, 0), (0, 0), (2, 4)), "reflect"),
        held="by its mode reflect",
    ),
    operation("ops.stack", SEQUENCE, lambda x: ops.stack([x, ops.relu(x)], axis=1)),
    operation("ops.stack last", SEQUENCE, lambda x: ops.reshape(ops.stack([x, x], -1), (-1, 12, 16))),
    operation("ops.reshape", SEQUENCE, lambda x: ops.reshape(x, (-1, 96))),
    operation("ops.reshape folding", SEQUENCE, fold),
    operation(
        "ops.transpose",
        SEQUENCE,
        lambda x: ops.transpose(x, (0, 2, 1)),
        held="reader (Dense): it reads the last axis",
    ),
    operation(
        "ops.swapaxes",
        SEQUENCE,
        lambda x: ops.swapaxes(x, 1, 2),
        held="reader (Dense): it reads the last axis",
    ),
    operation(
        "ops.moveaxis",
        IMAGE,
        lambda x: ops.moveaxis(x, -1, 1),
        held="reader (Dense): it reads the last axis",
    ),
    operation("ops.flip", SEQUENCE, lambda x: ops.flip(x, axis=1)),
    operation("ops.flip channels", SEQUENCE, lambda x: ops.flip(x, axis=-1)),
    operation("ops.roll", SEQUENCE, lambda x: ops.roll(x, 2, axis=1)),
    operation("ops.roll channels", SEQUENCE, lambda x: ops.roll(x, 3, axis=-1)),
    operation("ops.tile", SEQUENCE, lambda x: ops.tile(x, (1, 2, 1))),
    operation("ops.tile channels", SEQUENCE, lambda x: ops.tile(x, (1, 1, 2))),
    operation("ops.repeat", SEQUENCE, lambda x: ops.repeat(x, 2, axis=1)),
    operation("ops.repeat channels", SEQUENCE, lambda x: ops.repeat(x, 2, axis=-1)),
    operation("ops.expand_dims", SEQUENCE, lambda x: ops.squeeze(ops.expand_dims(x, 1), 1)),
    operation("ops.image.resize", IMAGE, lambda x: ops.image.resize(x, (5, 5))),
    operation("ops.depth_to_space", IMAGE, lambda x: ops.depth_to_space(x, 2)),
    operation("ops.space_to_depth", IMAGE, lambda x: ops.space_to_depth(x, 2)),
    operation("pixel shuffle", IMAGE, pixel_shuffle),
    operation("channel shuffle", IMAGE, channel_shuffle),
    operation("ops.max_pool", IMAGE, lambda x: ops.max_pool(x, 2)),
    operation("ops.average_pool", IMAGE, lambda x: ops.average_pool(x, 2)),
    # Arithmetic.
    operation("ops.where", SEQUENCE, lambda x: ops.where(x > 0.5, x, 0.1 * x)),
    operation("hard swish", SEQUENCE, lambda x: x * ops.relu6(x + 3) / 6),
    operation("mish", SEQUENCE, lambda x: x * ops.tanh(ops.softplus(x))),
    operation("ops.power", SEQUENCE, lambda x: x**2),
    operation("ops.clip", SEQUENCE, lambda x: ops.clip(x, -1, 1)),
    operation(
        "ops.clip channels",
        SEQUENCE,
        lambda x: ops.clip(x, [0.0] * 8, [*range(8)]),
        held="numbers of its own for each channel",
    ),
    operation("ops.log", SEQUENCE, lambda x: ops.log1p(ops.abs(x))),
    operation("array", SEQUENCE, lambda x: x * np.arange(8, dtype="float32")),
    operation("array of positions", SEQUENCE, lambda x: x + np.ones((12, 1), "float32")),
    operation("zeros_like", SEQUENCE, lambda x: ops.concatenate([x, ops.zeros_like(x)], -1)),
    operation("ops.mean", SEQUENCE, lambda x: ops.mean(x, axis=1)),
    operation("ops.std", SEQUENCE, lambda x: ops.std(x, axis=1)),
    operation("ops.var keepdims", SEQUENCE, lambda x: x * ops.var(x, axis=1, keepdims=True)),
    operation("ops.norm", SEQUENCE, lambda x: ops.norm(x, axis=1)),
    operation(
        "ops.max channels",
        SEQUENCE,
        lambda x: x * ops.max(x, axis=-1, keepdims=True),
        held="over all channels",
    ),
    operation(
        "ops.mean channels",
        SEQUENCE,
        lambda x: x * ops.mean(x, axis=-1, keepdims=True),
        held="over all channels",
    ),
    operation("ops.sum channels", SEQUENCE, lambda x: x * ops.sum(x, axis=-1, keepdims=True)),
    operation("ops.norm channels", SEQUENCE, lambda x: x / (1 + ops.norm(x, axis=-1, keepdims=True))),
    operation("ops.normalize", SEQUENCE, lambda x: ops.normalize(x, axis=-1)),
    operation("ops.softmax", SEQUENCE, lambda x: ops.softmax(x, axis=1)),
    operation("ops.softmax channels", SEQUENCE, ops.softmax, held="softmax mixes all channels"),
    operation(
        "ops.argmax",
        SEQUENCE,
        lambda x: ops.one_hot(ops.argmax(x, axis=-1), 8),
        held="over all channels",
    ),
    operation("ops.cumsum", SEQUENCE, lambda x: ops.cumsum(x, axis=1)),
    operation("ops.glu", SEQUENCE, ops.glu),
    Case("ops.matmul", SEQUENCE, dot_attention),
    Case(
        "ops.einsum",
        SEQUENCE,
        lambda x, other: ops.einsum("abc,adc->abd", x, other()),
    ),
    Case(
        "ops.einsum kept",
        SEQUENCE,
        lambda x, other: ops.einsum("abc,abc->ac", x, other()),
    ),
    Case(
        "ops.einsum of three",
        SEQUENCE,
        lambda x, other: ops.einsum("abc,adc,ade->abe", x, other(), other()),
        estimated=True,
    ),
    operation("ops.einsum alone", SEQUENCE, lambda x: ops.einsum("abc->ac", x)),
    Case(
        "ops.dot_product_attention",
        IMAGE,
        lambda x, o: ops.dot_product_attention(x, o(), o()),
    ),
    Case(
        "ops.outer",
        VECTOR,
        lambda x, other: x[:, :, None] * other()[:, None, :],
        held="along different axes",
    ),
    operation(
        "ops.conv",
        SEQUENCE,
        lambda x: ops.conv(x, np.ones((3, 8, 5), "float32")),
        held="no rule knows it",
    ),
    operation("ops.unknown", SEQUENCE, lambda x: ops.real(ops.fft((x, x))[0]), held="no rule knows it"),
]
