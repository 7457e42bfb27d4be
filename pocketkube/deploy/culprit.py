"""Finds the layer that TensorFlow's converter dies of, by converting layer after layer alone."""

from collections import Counter
from collections.abc import Callable, Iterator

import keras

from pocketkube.keras_private import Functional, calls_of


def fatal_layer(
    model: keras.Model, is_fatal: Callable[[keras.Model], bool]
) -> keras.layers.Layer | None:
    """The first layer that is fatal by itself; None where there is none.

    Layers that compute in loops of their own, and those that are not Keras's, come first: each trial
    that is fatal costs a process.

    Args:
        model: The model, as a whole fatal.
        is_fatal: Tries a model of one layer.
    """
    tried: set[str] = set()
    for layer, part in sorted(_parts(model), key=lambda found: not _is_suspect(found[0])):
        kind = type(layer).__name__
        # Of one kind those of a configuration fail alike, and a network has hundreds of convolutions.
        if not _is_suspect(layer) and kind in tried:
            continue
        tried.add(kind)
        if is_fatal(part):
            return (fatal_layer(layer, is_fatal) if _is_nested(layer) else None) or layer
    return None


def kinds(model: keras.Model) -> str:
    """What kinds of layers a model has, the rarest first."""
    counted = Counter(type(layer).__name__ for layer, _ in _parts(model))
    return ", ".join(sorted(counted, key=lambda kind: (counted[kind], kind)))


def _parts(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, keras.Model]]:
    """Each layer of a functional or sequential model, and the model of it alone."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer) or not calls_of(layer):
            continue
        node = calls_of(layer)[0]
        yield layer, keras.Model(node.input_tensors, node.output_tensors)


def _is_nested(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.Sequential | Functional)


def _is_suspect(layer: keras.layers.Layer) -> bool:
    loops = (keras.layers.RNN, keras.layers.Wrapper)
    return isinstance(layer, loops) or not type(layer).__module__.startswith("keras.")
