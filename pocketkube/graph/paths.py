"""Paths of layers: their names with those of the models and layers around them, as in left/conv."""

from collections.abc import Container


def is_within(path: str, layer: str) -> bool:
    """Whether a path is that of a layer or of one inside it."""
    return path == layer or path.startswith(f"{layer}/")


def beside(path: str, name: str) -> str:
    """The path of what is called `name` in the same model as the layer at `path`."""
    return f"{path.rpartition('/')[0]}/{name}".removeprefix("/")


def unique(path: str, used: Container[str]) -> str:
    """The path itself, or numbered where it is taken, as in left/conv_2."""
    found, number = path, 1
    while found in used:
        number += 1
        found = f"{path}_{number}"
    return found
