"""What is left around a layer where channels go, and what makes the layer fit it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Kept:
    """Positions that are kept of each input's and output's channels.

    Attributes:
        sizes: How many channels each input had.
        inputs: What is kept of each input; all positions where its channels are not known.
        outputs: The same for each output.
        heads: What is kept of an attention layer's heads.
    """

    sizes: tuple[int, ...]
    inputs: tuple[np.ndarray, ...]
    outputs: tuple[np.ndarray, ...]
    heads: np.ndarray | None


@dataclass(frozen=True)
class LayerEdit:
    """What makes a layer smaller: changes of its config, and positions kept along its weights' axes.

    Attributes:
        config: Entries of the layer's config that change.
        weights: For the end of a weight's path ("kernel"), pairs of an axis and the positions left.
        arguments: Arguments of its call that change, by name; none of them is a tensor.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, tuple[tuple[int, np.ndarray], ...]] = field(default_factory=dict)
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, path: str, weight: np.ndarray) -> np.ndarray:
        """The part of `weight` that is left."""
        for axis, kept in self._axes(path):
            weight = np.take(weight, kept, axis=axis)
        return weight

    def shape(self, path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that is left of a weight of `shape`."""
        sizes = list(shape)
        for axis, kept in self._axes(path):
            sizes[axis] = len(kept)
        return tuple(sizes)

    def _axes(self, path: str) -> tuple[tuple[int, np.ndarray], ...]:
        for end, axes in self.weights.items():
            if path == end or path.endswith(f"/{end}") or end == ANY:
                return axes
        return ()


ANY = "*"
