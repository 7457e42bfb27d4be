"""What layers apply at their end, as far as that is known."""

from typing import Any

import keras
import tensorflow as tf

from pocketkube.graph.kinds import computes_as, is_of_keras, is_one_of, name_of

layers = keras.layers
OTHER = "other"
RELUS = ("relu", "relu6")
# What lies in a range that LiteRT fixes.
FIXED = {"softmax": "sigmoid", "sigmoid": "sigmoid", "tanh": "tanh"}


def activation_of(op: Any) -> str:
    """The name of what a layer applies at its end: "linear" for nothing, OTHER for what is not known.

    What a class of one's own does with its `activation`, and what a function of one's own computes that
    is called as one of Keras's, nobody knows.
    """
    is_known = is_of_keras(computes_as(op))
    activation = getattr(op, "activation", None) if is_known else None
    if activation is None:
        name = name_of(op).lower()
        return name if name in FIXED else "linear"
    name = str(getattr(activation, "__name__", type(activation).__name__)).lower()
    if isinstance(activation, keras.Operation):
        plain = is_relu(activation) if isinstance(activation, layers.ReLU) else name in FIXED
        return name if plain and is_of_keras(type(activation)) else OTHER
    sources = (keras.activations, keras.ops, tf.nn, tf.math)
    return name if any(getattr(each, name, None) is activation for each in sources) else OTHER


def is_relu(op: Any) -> bool:
    """Whether a layer is a ReLU, or one of at most 6, which LiteRT's kernels do at their end."""
    if is_one_of(op, layers.ReLU):
        return op.max_value in (None, 6) and not op.negative_slope and not op.threshold
    if is_one_of(op, layers.Activation):
        return activation_of(op) in RELUS
    return name_of(op) in ("Relu", "Relu6")
