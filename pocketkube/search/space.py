"""What a search may decide: a parameter for each group of channels, each layer's sparsity or bits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from pocketkube.errors import UserError

# "kept": the part of a group's channels that stays; "sparsity": the part of a layer's weights that is
# zero; "bits": those of a layer's weights.
Decides = Literal["kept", "sparsity", "bits"]


@dataclass(frozen=True)
class Parameter:
    """One number that a search chooses.

    Attributes:
        name: Layer and what is decided of it, as people read it in Katib's UI: "conv1.kept".
        decides: What it is.
        targets: For "kept" the names of channel groups, else the paths of layers: all of them get it.
        levels: The values that can really be applied, from the cheapest to the dearest: kept parts and
            bits rise, sparsity falls.
    """

    name: str
    decides: Decides
    targets: tuple[str, ...]
    levels: tuple[float, ...]


@dataclass(frozen=True)
class Space:
    """All parameters of a search.

    A choice is the number of a level for each parameter, `[parameters]`; a point is a place in the unit
    box, `[parameters]`, where 0 is the cheapest level of a parameter and 1 the dearest.

    Attributes:
        parameters: In the order of the network's computation.
    """

    parameters: tuple[Parameter, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(each.name for each in self.parameters)

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many levels each parameter has, `[parameters]`."""
        return np.array([len(each.levels) for each in self.parameters], int)

    def has(self, choice: Sequence[int]) -> bool:
        """Whether it is one level of each parameter."""
        return len(choice) == len(self.parameters) and all(
            0 <= level < size for level, size in zip(choice, self.sizes, strict=True)
        )

    def changes(self, choice: np.ndarray) -> np.ndarray:
        """A choice with one parameter at each of its levels in turn, `[all levels, parameters]`.

        Args:
            choice: `[parameters]`.
        """
        owners = np.repeat(np.arange(len(self.sizes)), self.sizes)
        starts = np.cumsum(self.sizes) - self.sizes
        found = np.tile(choice, (len(owners), 1))
        found[np.arange(len(owners)), owners] = np.arange(len(owners)) - starts[owners]
        return found

    def values(self, choice: np.ndarray) -> dict[str, float]:
        """The value that each parameter has, by its name.

        Args:
            choice: `[parameters]`.
        """
        return {
            each.name: each.levels[int(level)]
            for each, level in zip(self.parameters, choice, strict=True)
        }

    def choice(self, values: Mapping[str, float]) -> np.ndarray:
        """The levels that are nearest to values, `[parameters]`.

        Args:
            values: One for each parameter, by its name; they may lie between levels or beyond.

        Raises:
            UserError: If a value is missing or no number, or there is no such parameter.
        """
        wrong = {*values} ^ {*self.names}
        if wrong:
            raise UserError(
                f"The search has the parameters {', '.join(self.names)}; received "
                f"{', '.join(map(str, values))}."
            )
        found = []
        for each in self.parameters:
            value = values[each.name]
            if not np.isfinite(value):
                raise UserError(f"{each.name} has to be a number; received {value!r}.")
            found.append(int(np.abs(np.array(each.levels) - value).argmin()))
        return np.array(found, int)

    def point(self, choice: np.ndarray) -> np.ndarray:
        """Where choices lie in the unit box, each level at its own place: `[…, parameters]`."""
        return np.asarray(choice, float) / np.maximum(self.sizes - 1, 1)

    def nearest(self, point: np.ndarray) -> np.ndarray:
        """The choices nearest to points of the unit box, `[…, parameters]`."""
        last = self.sizes - 1
        return np.rint(np.clip(np.asarray(point, float), 0.0, 1.0) * last).astype(int)
