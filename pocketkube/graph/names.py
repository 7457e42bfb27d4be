"""What the layers of a model are called, so that no two have the same name."""

import re
from collections.abc import Iterator
from typing import Any

import keras

from pocketkube.graph.paths import unique
from pocketkube.graph.walk import is_model
from pocketkube.keras_private import inner_layers, to_snake_case


def named_layers(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The layers of a model, those inside of others included.

    Keras's own paths do not tell the layers of two nested models apart, and some begin with a number
    that counts the models made so far. Nor does Keras write down what a layer calls those that it makes
    itself: where it gave them no names, they are numbered from 1 here, as in block/conv2d_2.

    Args:
        model: The model.

    Yields:
        Names from the outermost layer inwards, as in left/conv, and the layer; a shared one once. The
        names are the same whenever the model is loaded.
    """
    seen: set[int] = set()

    def within(outer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for layer in inner_layers(outer):
            if id(layer) not in seen:
                seen.add(id(layer))
                name = unique(layer.name if _keeps_names(outer) else _plain_name(layer), names)
                names.add(name)
                yield prefix + name, layer
                yield from within(layer, f"{prefix}{name}/")

    yield from within(model, "")


def _keeps_names(outer: Any) -> bool:
    """Whether the names of the layers inside are part of what is saved."""
    return is_model(outer) or isinstance(outer, keras.layers.Wrapper)


def _plain_name(layer: Any) -> str:
    """A layer's name without the number that Keras gives where there is none."""
    kind = to_snake_case(type(layer).__name__)
    return kind if re.fullmatch(rf"{kind}(_\d+)?", layer.name) else str(layer.name)
