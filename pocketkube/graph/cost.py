"""What a model costs at batch size 1: multiply-adds, parameters and activations, layer by layer."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.graph.bounds import Bound, Speedup, compare_macs, macs_bound
from pocketkube.graph.calls import LayerCall, layer_calls
from pocketkube.graph.float_operations import count_other_flops
from pocketkube.graph.kinds import is_one_of
from pocketkube.graph.macs import count_macs
from pocketkube.graph.traced import Count, count_traced


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs, over all its calls.

    Attributes:
        name: Its path: "backbone/conv1".
        kind: Its class: "Conv2D".
        macs: Multiply-adds of convolutions, dense layers and attention, those within other layers too;
            at least so many where something is uncounted.
        parameters: Numbers in its weights, trainable or not, counted at one layer only where shared.
        activation_bytes: Size of its outputs.
        output_shape: Shape of its first output, without the batch.
        calls: How often it is called.
        other_flops: Float operations that are no multiply-adds: biases, normalisation, pooling and
            element-wise work, each counted as TensorFlow's profiler does.
        uncounted: What is in neither number, in words: "the operation PyFunc".
    """

    name: str
    kind: str
    macs: int
    parameters: int
    activation_bytes: int
    output_shape: tuple[int, ...]
    calls: int
    other_flops: int
    uncounted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """What a model costs.

    Attributes:
        layers: Its layers in the order of computation, nested models opened.
        macs: Multiply-adds of all layers; at least so many where some are unknown.
        parameters: Numbers in all weights.
        activation_bytes: Size of all layers' outputs together.
        unknown: Name and kind of each layer that may multiply what is not in `macs`.
    """

    layers: tuple[LayerCost, ...]
    macs: int
    parameters: int
    activation_bytes: int
    unknown: tuple[str, ...]

    @property
    def bound(self) -> Bound:
        """What multiply-adds and float operations are, compared to `macs` and `flops`."""
        return macs_bound(self.unknown)

    def speedup_to(self, smaller: "Profile") -> Speedup:
        """How many times fewer multiply-adds `smaller` takes."""
        return compare_macs(self.macs, self.unknown, smaller.macs, smaller.unknown)

    @property
    def flops(self) -> int:
        """Float operations: two for a multiply-add, and all others."""
        return 2 * self.macs + sum(layer.other_flops for layer in self.layers)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {**asdict(self), "flops": self.flops, "bound": self.bound}


def profile_model(model: keras.Model) -> Profile:
    """Counts what a model costs at batch size 1.

    Args:
        model: A functional or sequential model. Layers that are called several times, or stand in a
            nested model that is, count once per call, their parameters once.

    Returns:
        The profile.

    Raises:
        UserError: If the model is a subclassed one, or a shape beside the batch is not fixed.
    """
    calls: dict[int, list[LayerCall]] = {}
    for call in layer_calls(model):
        calls.setdefault(id(call.op), []).append(call)
    seen: set[int] = set()
    layers, unknown = [], []
    for same in calls.values():
        op = same[0].op
        counts = [count_call(call) for call in same]
        kind = type(op).__name__
        uncounted = tuple(dict.fromkeys(what for count in counts for what in count.uncounted))
        if uncounted:
            unknown.append(f"{same[0].path} ({kind})")
        layers.append(
            LayerCost(
                name=same[0].path,
                kind=kind,
                macs=sum(count.macs for count in counts),
                parameters=_parameters(_weights(op), seen),
                activation_bytes=sum(_activation_bytes(call) for call in same),
                output_shape=same[0].outputs[0][1:],
                calls=len(same),
                other_flops=sum(count.other_flops for count in counts),
                uncounted=uncounted,
            )
        )
    return Profile(
        layers=tuple(layers),
        macs=sum(layer.macs for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
        activation_bytes=sum(layer.activation_bytes for layer in layers),
        unknown=tuple(unknown),
    )


def count_call(call: LayerCall) -> Count:
    """What one call of a layer or operation takes at batch size 1, and what of it is not known."""
    if is_one_of(call.op, keras.layers.SpectralNormalization):
        # Beside training it is the layer inside.
        return count_call(replace(call, op=call.op.layer))
    macs = count_macs(call)
    return count_traced(call) if macs is None else Count(macs, count_other_flops(call))


def _weights(op: Any) -> Iterable[Any]:
    """What an operation multiplies by or adds; what rounds activations has settings alone."""
    name = keras.saving.get_registered_name(type(op))
    return () if name == "pocketkube>FakeQuantize" else getattr(op, "weights", ())


def _parameters(weights: Iterable[Any], seen: set[int]) -> int:
    new = [weight for weight in weights if id(weight) not in seen]
    seen.update(map(id, new))
    return sum(math.prod(weight.shape) for weight in new)


def _activation_bytes(call: LayerCall) -> int:
    return sum(
        math.prod(shape) * _bytes(dtype) for shape, dtype in zip(call.outputs, call.dtypes, strict=True)
    )


def _bytes(dtype: str) -> int:
    return np.dtype(tf.as_dtype(dtype).as_numpy_dtype).itemsize
