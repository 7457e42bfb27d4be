"""Where among the tensors of an attention layer's call its query, value, key and masks stand."""

from typing import Any

import keras

# In the order in which they are given without names.
_NAMES = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")


def attention_inputs(arguments: Any) -> dict[str, int]:
    """The places of a call's input tensors, by what they are to the layer.

    Args:
        arguments: What the call was given, as Keras keeps it, which has those with names in
            alphabetical order behind those without.

    Returns:
        The place of each tensor by its parameter's name; that of "value" for "key", too, where no key
        is given.
    """
    by_name = dict(zip(_NAMES, arguments.args, strict=False))
    by_name |= {name: arguments.kwargs[name] for name in sorted(arguments.kwargs)}
    given = [name for name, value in by_name.items() if isinstance(value, keras.KerasTensor)]
    places = {name: place for place, name in enumerate(given)}
    return {"key": places["value"]} | places
