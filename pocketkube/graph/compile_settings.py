"""Compiles a model that was made of another one as that one is."""

from collections.abc import Mapping
from typing import Any

import keras

from pocketkube.keras_private import functional_of, outputs_structure

# What may be told of each output by its name.
BY_OUTPUT = ("loss", "loss_weights", "metrics", "weighted_metrics")


def compile_like(made: keras.Model, model: keras.Model) -> None:
    """Compiles a model as another one is, where that is compiled.

    Args:
        made: The model to compile. Its outputs stand in the order of the other's; the layers that give
            them may have other names.
        model: A functional or sequential model.
    """
    if not model.compiled or not (settings := model.get_compile_config()):
        return
    made.compile_from_config(settings | _renamed(settings, made, model))


def _renamed(settings: Mapping[str, Any], made: keras.Model, model: keras.Model) -> dict[str, Any]:
    """The settings that go by names of layers, by those of the model that was made."""
    old, new = (functional_of(each) or each for each in (model, made))
    if isinstance(outputs_structure(old), dict):
        return {}
    names = dict(zip(old.output_names, new.output_names, strict=True))
    return {
        key: {names.get(name, name): value for name, value in given.items()}
        for key in BY_OUTPUT
        # A loss that is an object is a mapping, too, when it is written down.
        if isinstance(given := settings.get(key), Mapping) and set(given) <= set(names)
    }
