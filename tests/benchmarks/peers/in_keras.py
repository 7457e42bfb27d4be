"""Plain networks as models of any Keras: Keras 3, Keras 2 and tf_keras, and back."""

from typing import Any

import numpy as np

from tests.benchmarks.peers.plain_network import WEIGHTS, Layer, PlainNetwork


def built(network: PlainNetwork, keras: Any) -> Any:
    """The network as a functional model.

    Args:
        network: The network.
        keras: The module: keras or tf_keras.
    """
    tensors: dict[str, Any] = {}
    for layer in network.layers:
        if layer.kind == "input":
            first = tensors[layer.name] = keras.Input(layer.shape, name=layer.name)
            continue
        inputs = [tensors[name] for name in layer.inputs]
        made = _made(layer, network, keras.layers)
        tensors[layer.name] = made(inputs if layer.kind == "add" else inputs[0])
        if weights := network.of(layer):
            made.set_weights(weights)
    return keras.Model(first, tensors[network.layers[-1].name])


def described(model: Any) -> PlainNetwork:
    """A functional model as a plain network; raises ValueError where a layer is of no known kind."""
    layers: list[Layer] = []
    weights: dict[str, np.ndarray] = {}
    for made in model.layers:
        layer = _layer(made)
        layers.append(layer)
        names = [name for name in WEIGHTS.get(layer.kind, ()) if name != "bias" or made.use_bias]
        weights.update(zip((f"{made.name}/{name}" for name in names), made.get_weights(), strict=True))
    return PlainNetwork(tuple(layers), weights)


def weights_of(network: PlainNetwork, model: Any) -> PlainNetwork:
    """The same layers with the weights that layers of these names have in a Keras model."""
    made = {layer.name: layer for layer in model.layers}
    return network.with_weights(
        {
            name: array
            for layer in network.layers
            if layer.kind in WEIGHTS
            for name, array in zip(network.names_of(layer), made[layer.name].get_weights(), strict=True)
        }
    )


def _made(layer: Layer, network: PlainNetwork, layers: Any) -> Any:
    weights, name = network.of(layer), layer.name
    has_bias = len(weights) > 1
    match layer.kind:
        case "conv":
            rows, columns, _, filters = weights[0].shape
            return layers.Conv2D(
                filters, (rows, columns), layer.strides, layer.padding, use_bias=has_bias, name=name
            )
        case "depthwise":
            return layers.DepthwiseConv2D(
                weights[0].shape[:2], layer.strides, layer.padding, use_bias=has_bias, name=name
            )
        case "dense":
            return layers.Dense(weights[0].shape[1], use_bias=has_bias, name=name)
        case "batch_norm":
            return layers.BatchNormalization(momentum=0.9, epsilon=layer.epsilon, name=name)
        case "relu":
            return layers.ReLU(layer.limit, name=name)
        case "add":
            return layers.Add(name=name)
        case "zero_padding":
            top, bottom, left, right = layer.pad
            return layers.ZeroPadding2D(((top, bottom), (left, right)), name=name)
        case _:
            return layers.GlobalAveragePooling2D(name=name)


def _layer(made: Any) -> Layer:
    kind, name = type(made).__name__, made.name
    if kind == "InputLayer":
        return Layer(name, "input", shape=tuple(made.output.shape[1:]))
    inputs = tuple(
        _source(each) for each in (made.input if isinstance(made.input, list) else [made.input])
    )
    if kind in ("Conv2D", "DepthwiseConv2D"):
        if len(set(made.strides)) > 1 or made.dilation_rate not in ((1, 1), 1) or _groups(made) > 1:
            raise ValueError(f"{name}: strides that differ, dilation and groups are not known here")
        _refuse_activation(made)
        known = "conv" if kind == "Conv2D" else "depthwise"
        return Layer(name, known, inputs, strides=made.strides[0], padding=made.padding)
    if kind == "Dense":
        _refuse_activation(made)
        return Layer(name, "dense", inputs)
    if kind == "BatchNormalization":
        return Layer(name, "batch_norm", inputs, epsilon=made.epsilon)
    if kind == "ReLU":
        return Layer(name, "relu", inputs, limit=made.max_value)
    if kind == "Add":
        return Layer(name, "add", inputs)
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = made.padding
        return Layer(name, "zero_padding", inputs, pad=(top, bottom, left, right))
    if kind == "GlobalAveragePooling2D":
        return Layer(name, "global_average", inputs)
    raise ValueError(f"{name}: layers of kind {kind} are not known here")


def _groups(made: Any) -> int:
    return getattr(made, "groups", 1) if type(made).__name__ == "Conv2D" else 1


def _refuse_activation(made: Any) -> None:
    if made.activation.__name__ != "linear":
        raise ValueError(f"{made.name}: its activation has to be a layer of its own")


def _source(tensor: Any) -> str:
    history = tensor._keras_history
    # Keras 3 calls it an operation, Keras 2 a layer.
    return str((history.operation if hasattr(history, "operation") else history.layer).name)
