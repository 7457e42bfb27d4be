"""Says why a layer cannot be made anew from its own config, and what would be right."""

import inspect
import warnings
from collections.abc import Iterator
from functools import partial
from inspect import isfunction
from typing import Any

import keras

from pocketkube.errors import first_line
from pocketkube.graph.kinds import is_of_keras
from pocketkube.keras_private import flat_layers


def why_not_made(path: str, op: Any, error: Exception) -> str:
    """What is wrong with a layer or operation, and what would be right.

    Args:
        path: Its path.
        op: The layer or operation.
        error: What making it raised.
    """
    told = f"{path} ({type(op).__name__}) cannot be made anew"
    for layer in flat_layers(op) if isinstance(op, keras.layers.Layer) else ():
        for name, value in _functions(layer):
            if not _comes_back(value):
                held = f"its {name}" if layer is op else f"the {name} of {layer.name} in it"
                return (
                    f"{told}: {held} is {_called(value)}. Define a function by def under "
                    "@keras.saving.register_keras_serializable(), and give that."
                )
    if is_of_keras(type(op)):
        if isinstance(error, NotImplementedError):
            return (
                f"{told}: it was given an array. Give it a list of numbers, or a layer that has them."
            )
        return f"{told} from its get_config(): {first_line(error)}"
    cause = "" if isinstance(error, NotImplementedError) else f"{first_line(error)}; "
    return f"{told} from its get_config(): {cause}give it one that has all that its __init__ takes."


def _functions(layer: Any) -> Iterator[tuple[str, Any]]:
    """What Keras's own __init__ of a layer takes that can be called, as its activation."""
    kind = next(each for each in type(layer).__mro__ if is_of_keras(each))
    for name in inspect.signature(kind).parameters:
        value = getattr(layer, name, None)
        if callable(value) and not isinstance(value, keras.layers.Layer):
            yield name, value


def _comes_back(function: Any) -> bool:
    """Whether Keras can write a function down and find it again."""
    with warnings.catch_warnings():
        # Of lambdas, that they are unsafe.
        warnings.simplefilter("ignore")
        try:
            keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(function))
        # What Keras raises depends on the kind of function.
        except Exception:
            return False
    return True


def _called(function: Any) -> str:
    if isinstance(function, partial):
        return "a functools.partial"
    if not isfunction(function):
        return f"a {type(function).__name__} without get_config()"
    if function.__name__ == "<lambda>":
        return "a lambda"
    return f"the function {function.__name__}, which Keras does not know by name"
