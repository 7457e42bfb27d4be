"""What LiteRT's operations on integers do with the ranges of what they take."""

from typing import Any

import keras
import numpy as np

from pocketkube.graph.kinds import is_one_of, name_of
from pocketkube.quantization.activations import activation_of

layers = keras.layers


def only_moves(node: Any) -> bool:
    """Whether a call gives nothing but values that it takes."""
    return moves(node.operation) and not _pads_with(node)


def moves(op: Any) -> bool:
    """Whether an operation gives what it takes, in other places; `Pad` may add a number."""
    return is_one_of(op, ONLY_MOVE) or name_of(op) in ONLY_MOVE_NAMES


def _pads_with(node: Any) -> bool:
    """Whether a call pads with a number that may lie beyond its input's range; zero never does."""
    if name_of(node.operation) != "Pad":
        return False
    arguments = node.arguments
    value = arguments.kwargs.get("constant_values", arguments.args[1] if arguments.args[1:] else None)
    return value is not None and bool(np.any(np.asarray(value) != 0))


def keeps_range(op: Any) -> bool:
    """Whether an operation gives numbers of its own in the range of what it takes."""
    return is_one_of(op, SAME_RANGE)


def joins(op: Any) -> bool:
    """Whether all that an operation takes comes into one range."""
    return name_of(op) in JOINS


def computes_in_floats(op: Any) -> bool:
    """Whether LiteRT has an operation in floats alone, if it has it.

    The converter does not bring it to the range of what it is joined with once it is rounded: it is
    joined in floats, and rounded then. Of what LiteRT does not have, as Arctan, the converter says so
    then, and not that it fails at the concatenation.
    """
    return name_of(op) in FLOAT_NAMES or activation_of(op) in FLOAT_ACTIVATIONS


ONLY_MOVE = (
    layers.Flatten,
    layers.Reshape,
    layers.Permute,
    layers.RepeatVector,
    layers.Identity,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.ZeroPadding1D,
    layers.ZeroPadding2D,
    layers.Cropping1D,
    layers.Cropping2D,
    layers.MaxPooling1D,
    layers.MaxPooling2D,
    layers.GlobalMaxPooling1D,
    layers.GlobalMaxPooling2D,
)
ONLY_MOVE_NAMES = (
    "Reshape",
    "Transpose",
    "Squeeze",
    "ExpandDims",
    "GetItem",
    "Pad",
    "Identity",
    "Split",
    "ArraySplit",
    "Unstack",
)
JOINS = ("Concatenate", "Stack", "Maximum", "Minimum", "Where")
FLOAT_NAMES = (
    "Arccos", "Arccosh", "Arcsin", "Arcsinh", "Arctan", "Arctan2", "Arctanh", "Cast", "Ceil", "Cos",
    "Cosh", "Cumprod", "Cumsum", "ELU", "Elu", "Erf", "Exp2", "Floor", "FloorDivide", "LogSigmoid",
    "LogSoftmax", "Mod", "Negative", "Power", "Round", "Sign", "Sin", "Sinh", "Sort", "Square",
)  # fmt: skip
FLOAT_ACTIVATIONS = ("elu", "log_sigmoid", "log_softmax")
SAME_RANGE = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.UpSampling1D,
    layers.UpSampling2D,
)
