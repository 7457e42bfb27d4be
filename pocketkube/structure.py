"""The structure in which a model takes its inputs and gives its outputs: one tensor, a list, a dict.

All else in PocketKube holds inputs and outputs as flat lists, in the order of `model.inputs` and
`model.outputs`; in a dict that is the alphabetical order of its keys.
"""

from collections.abc import Sequence
from typing import Any

import keras

from pocketkube.keras_private import functional_of, inputs_structure, origin, outputs_structure


def arranged(model: keras.Model, inputs: Sequence[Any]) -> Any:
    """Inputs in the structure that a model is called with.

    Args:
        model: The model; a subclassed one, whose structure is unknown, is called with one tensor or a
            list.
        inputs: A tensor or array for each input, in the order of `model.inputs`.

    Example:
        >>> a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
        >>> model = keras.Model({"b": b, "a": a}, keras.layers.Add()([a, b]))
        >>> arranged(model, [1.0, 2.0])
        {'b': 2.0, 'a': 1.0}
    """
    wanted = inputs_structure(model)
    if wanted is None:
        return inputs[0] if len(inputs) == 1 else list(inputs)
    return keras.tree.pack_sequence_as(wanted, list(inputs))


def take_shorter(model: keras.Model) -> None:
    """Lets a model be called with shorter sequences than its inputs say, as batches have them.

    Args:
        model: A functional or sequential model; what it is saved as does not change.
    """
    specs = [keras.InputSpec(ndim=len(x.shape)) for x in model.inputs]
    model.input_spec = arranged(model, specs)


def input_names(model: keras.Model) -> tuple[str, ...]:
    """What the inputs of a functional or sequential model are called, in the order of `model.inputs`.

    Returns:
        A dict's keys where inputs are one, joined as in "left/image" where they are nested; else the
        names of the input layers. Every name is there once.
    """
    return _names(inputs_structure(_structure(model)))


def output_names(model: keras.Model) -> tuple[str, ...]:
    """What the outputs of a functional or sequential model are called, in the order of `model.outputs`.

    Returns:
        A dict's keys where outputs are one, joined as in "left/digit" where they are nested; else the
        names of the layers that give them. Every name is there once.

    Example:
        >>> x = keras.Input((2,))
        >>> z, a = keras.layers.Dense(1, name="dense")(x), keras.layers.Dense(1)(x)
        >>> output_names(keras.Model(x, {"z": z, "a": a}))
        ('a', 'z')
    """
    return _names(outputs_structure(_structure(model)))


def _structure(model: keras.Model) -> Any:
    """The functional model that knows the structure; that within a sequential one."""
    return functional_of(model) or model


def _names(tensors: Any) -> tuple[str, ...]:
    names: list[str] = []
    for path, tensor in keras.tree.flatten_with_path(tensors):
        in_dict = any(isinstance(part, str) for part in path)
        name = "/".join(map(str, path)) if in_dict else origin(tensor)[0].name
        unique, number = name, 1
        while unique in names:
            unique, number = f"{name}_{number}", number + 1
        names.append(unique)
    return tuple(names)
