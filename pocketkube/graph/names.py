"""What the layers of a model are called, so that no two have the same name."""

from collections.abc import Iterator
from typing import Any

import keras

from pocketkube.graph.paths import unique


def named_layers(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """The layers of a model, those inside of others included.

    Keras's own paths do not tell the layers of two nested models apart, and some begin with a number
    that counts the models made so far.

    Args:
        model: The model.

    Yields:
        Names from the outermost layer inwards, as in left/conv, and the layer; a shared one once.
    """
    seen: set[int] = set()

    def within(outer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        names: set[str] = set()
        for layer in outer._layers:
            if id(layer) not in seen:
                seen.add(id(layer))
                name = unique(layer.name, names)
                names.add(name)
                yield prefix + name, layer
                yield from within(layer, f"{prefix}{name}/")

    yield from within(model, "")
