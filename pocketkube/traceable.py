"""Whether TensorFlow can compute with a network: it takes not every name that Keras takes."""

import re
from collections.abc import Sequence
from typing import Any

import keras

from pocketkube.errors import UserError
from pocketkube.keras_private import flat_layers


def refuse_untraceable(model: keras.Model, *, saved: bool = False) -> None:
    """Refuses names that TensorFlow takes for no part of a graph.

    Keras cannot train or predict with such a model on TensorFlow; on JAX or PyTorch it can.

    Args:
        model: The model.
        saved: Whether its graph is saved, too. Then it matters how the names of layers with weights
            begin.

    Raises:
        UserError: Names the layers, and what to do.
    """
    layers = [layer for layer in flat_layers(model, include_self=False) if not _is_input(layer)]
    odd = [layer.name for layer in layers if not _NAME.fullmatch(layer.name)]
    roots = [model.name, *map(_root, model.weights)] if saved else [model.name]
    odd += [name for name in roots if not _ROOT.fullmatch(name)]
    if odd:
        raise UserError(
            f"{model.name}: TensorFlow cannot compute with {_listed(list(dict.fromkeys(odd)))}: names "
            "of layers and models may have a-z, A-Z, digits, _, -, . and >, and begin with a letter or "
            "digit. Give others, by name=… where they are made, or by keras.models.clone_model(model, "
            "clone_function=…)."
        )


def _is_input(layer: Any) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def _root(weight: keras.Variable) -> str:
    """How the name begins that TensorFlow has for a weight.

    The path that Keras has for it may begin with the name of another model: with one that TensorFlow
    refused to compute with, where the weight was made after that.
    """
    return str(weight.value.name).partition(":")[0].partition("/")[0]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


_NAME, _ROOT = re.compile(r"[A-Za-z0-9_.>-]+"), re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*")
_SHOWN = 3
