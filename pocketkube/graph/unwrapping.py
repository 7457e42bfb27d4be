"""Takes layers out of wrappers that compute, at inference, what the layers themselves do."""

from collections.abc import Sequence
from typing import Any

import keras

from pocketkube.graph.compile_settings import compile_like
from pocketkube.graph.kinds import is_one_of
from pocketkube.graph.rebuild import Rebuilder, static_calls
from pocketkube.graph.sharing import tied_operations
from pocketkube.graph.walk import functional_graph

layers = keras.layers
SPECTRAL = (layers.SpectralNormalization,)
WRAPPERS = (*SPECTRAL, layers.TimeDistributed)


def unwrapped(model: keras.Model, kinds: tuple[type, ...] = WRAPPERS) -> keras.Model:
    """A model of the same layers that computes the same at inference, without wrappers around them.

    `SpectralNormalization` divides its layer's weights while it is trained; what is left is the layer.
    `TimeDistributed` gives its layer one step after the other; here the layer takes all steps as one
    batch. Each becomes a nested model of the wrapper's name, so that names stay what they were.

    Args:
        model: A functional or sequential model.
        kinds: Which wrappers are taken away.

    Returns:
        A model of its own that has the same layers; the given one where it has no such wrappers.
    """
    calls = list(static_calls(functional_graph(model)))
    nodes = [node for _, node in calls]
    # What a mask leaves out is known to the steps of a sequence, not to a batch.
    masked = any(
        isinstance(node.operation, layers.Masking) or getattr(node.operation, "mask_zero", False)
        for node in nodes
    )
    wrappers = {id(node.operation) for node in nodes if is_one_of(node.operation, kinds)}
    wrappers -= {id(node.operation) for node in nodes if not _opens(node, masked=masked)}
    # Of a layer that is in two models, Keras's files make two.
    wrappers -= tied_operations(calls)
    if not wrappers:
        return model
    opened = _Unwrapper(wrappers).rebuild(model)
    compile_like(opened, model)
    # One wrapper may be around another.
    return unwrapped(opened, kinds)


def spectral_note(model: keras.Model) -> list[str]:
    """A sentence for the user where a model is about to lose its spectral normalisation."""
    calls = static_calls(functional_graph(model))
    paths = dict.fromkeys(path for path, node in calls if is_one_of(node.operation, SPECTRAL))
    if not paths:
        return []
    return [
        "Layers keep the weights that SpectralNormalization gave them, and are trained without it from "
        f"here on: {', '.join(paths)}."
    ]


def _opens(node: Any, *, masked: bool) -> bool:
    if not is_one_of(node.operation, layers.TimeDistributed):
        return True
    return not masked and len(node.input_tensors) == 1 and None not in node.input_tensors[0].shape[1:]


class _Unwrapper(Rebuilder):
    def __init__(self, wrappers: set[int]) -> None:
        super().__init__()
        self._wrappers = wrappers
        self._opened: dict[int, keras.Model] = {}
        # For steps `[batch, steps, …]`, the same as `[batch * steps, …]`.
        self._merged: dict[int, Any] = {}

    def compute(self, path: str, node: Any, tensors: list[Any]) -> Sequence[Any]:
        """See `Rebuilder`."""
        op = node.operation
        if id(op) not in self._wrappers:
            return super().compute(path, node, tensors)
        if is_one_of(op, SPECTRAL):
            return [self._opened_of(op, tensors[0])(tensors[0])]
        steps = tensors[0]
        merged = self._merged.get(id(steps))
        if merged is None:
            merged = keras.ops.reshape(steps, (-1, *steps.shape[2:]))
        result = self._opened_of(op, merged)(merged)
        apart = keras.ops.reshape(result, (-1, steps.shape[1], *result.shape[1:]))
        self._merged[id(apart)] = result
        return [apart]

    def _opened_of(self, wrapper: Any, tensors: Any) -> keras.Model:
        if id(wrapper) not in self._opened:
            inputs = keras.Input(batch_shape=tensors.shape, dtype=tensors.dtype)
            outputs = wrapper.layer(inputs)
            self._opened[id(wrapper)] = keras.Model(inputs, outputs, name=wrapper.name)
        return self._opened[id(wrapper)]
