"""Freezes what is inside frozen layers of a model that was made from its config."""

from collections.abc import Iterator
from typing import Any

import keras

from pocketkube.graph.walk import is_model
from pocketkube.keras_private import flat_layers, inner_layers


def freeze_inside(model: keras.Model) -> None:
    """Freezes the layers that frozen ones made for themselves; in place.

    A layer learns from its config that it is frozen before it makes those inside it, as attention does
    when it is built, and Keras would train these. Those that stand in its config say so themselves.

    Args:
        model: The model, built.
    """
    for layer in flat_layers(model):
        if not layer.trainable and not is_model(layer) and (inside := inner_layers(layer)):
            told = set(_names(layer.get_config()))
            for each in inside:
                if each.name not in told:
                    each.trainable = False


def _names(config: Any) -> Iterator[str]:
    """The names of all layers within a config."""
    values = config.values() if isinstance(config, dict) else config
    for value in values:
        if isinstance(value, dict) and isinstance(value.get("config"), dict):
            yield str(value["config"].get("name"))
        if isinstance(value, dict | list | tuple):
            yield from _names(value)
