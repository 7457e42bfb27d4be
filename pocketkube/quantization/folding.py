"""BatchNorm folded into the layer before it, and what that needs of layers' kernels and biases."""

from typing import Any

import keras
import numpy as np

from pocketkube.quantization.activations import activation_of

layers = keras.layers
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def fold(new: Any, old: Any, norm: Any) -> None:
    """Gives a layer another one's kernel and bias, with the BatchNorm that it takes up, if not None."""
    kernel = np.asarray(old.kernel)
    axes = (-2, -1) if isinstance(old, DEPTHWISE) else (-2,) if isinstance(old, TRANSPOSED) else (-1,)
    if norm is None:
        new.kernel.assign(kernel)
        if new.bias is not None:
            new.bias.assign(old.bias)
        return
    set_folded(new, kernel, added_bias(old), axes, norm)


def set_folded(
    new: Any, kernel: np.ndarray, bias: np.ndarray, axes: tuple[int, ...], norm: Any
) -> None:
    """`gamma (W x + b - mean) / sqrt(variance + epsilon) + beta` as one kernel and one bias."""
    factor, shift = affine(norm, len(bias)) if norm is not None else (np.ones_like(bias), 0.0)
    shape = [1] * kernel.ndim
    for axis in axes:
        shape[axis] = kernel.shape[axis]
    new.kernel.assign(kernel * factor.reshape(shape))
    new.bias.assign(bias * factor + shift)


def set_affine(new: Any, factor: np.ndarray, shift: np.ndarray) -> None:
    """Has a depthwise convolution of 1 x 1 multiply each channel and add to it."""
    new.kernel.assign(factor.reshape(new.kernel.shape))
    new.bias.assign(shift)


def affine(op: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What a BatchNorm or a Rescaling multiplies each channel by, and what it adds."""
    if isinstance(op, layers.Rescaling):
        return np.broadcast_to(op.scale, channels), np.broadcast_to(op.offset, channels)
    gamma, beta = gamma_and_beta(op, channels)
    factor = gamma / np.sqrt(np.asarray(op.moving_variance) + op.epsilon)
    return factor, beta - np.asarray(op.moving_mean) * factor


def gamma_and_beta(norm: Any, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """A BatchNorm's factors and shifts of what is normalised, also where it has none."""
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones(channels, np.float32)
    beta = np.asarray(norm.beta) if norm.center else np.zeros(channels, np.float32)
    return gamma, beta


def added_bias(layer: Any) -> np.ndarray:
    """What a layer of weights adds to each channel."""
    if layer.use_bias:
        return np.asarray(layer.bias)
    if isinstance(layer, TRANSPOSED):
        return np.zeros(layer.kernel.shape[-2], np.float32)
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        return np.zeros(layer.filters, np.float32)
    axes = (-2, -1) if isinstance(layer, DEPTHWISE) else (-1,)
    return np.zeros(int(np.prod([layer.kernel.shape[axis] for axis in axes])), np.float32)


def parts_of_separable(op: Any, *, folded: bool) -> tuple[Any, Any]:
    """The depthwise and the pointwise convolution of a separable one.

    Args:
        op: The layer.
        folded: Whether the second takes up a BatchNorm: what constraints are of has another scale then.
    """
    common = {"data_format": op.data_format, "dtype": op.dtype_policy, "trainable": op.trainable}
    one = isinstance(op, layers.SeparableConv1D)
    depthwise, pointwise = (
        (layers.DepthwiseConv1D, layers.Conv1D) if one else (layers.DepthwiseConv2D, layers.Conv2D)
    )
    first = depthwise(
        op.kernel_size,
        strides=op.strides,
        padding=op.padding,
        depth_multiplier=op.depth_multiplier,
        dilation_rate=op.dilation_rate,
        use_bias=False,
        name="depthwise",
        depthwise_regularizer=op.depthwise_regularizer,
        depthwise_constraint=op.depthwise_constraint,
        **common,
    )
    second = pointwise(
        op.filters,
        1,
        name="pointwise",
        kernel_regularizer=op.pointwise_regularizer,
        bias_regularizer=op.bias_regularizer,
        # With an activation it is of what that gives.
        activity_regularizer=op.activity_regularizer if activation_of(op) == "linear" else None,
        kernel_constraint=None if folded else op.pointwise_constraint,
        bias_constraint=None if folded else op.bias_constraint,
        **common,
    )
    return first, second
