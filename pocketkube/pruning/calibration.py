"""The examples that pruning looks at: never the test set's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError

BATCH = 64
# One example in so many is held back, to hold against it what was found on the others.
HELD_BACK = 4
# With fewer examples nothing is fitted: too few are held back to tell a good fit from a bad one.
FEWEST = 32


@dataclass(frozen=True)
class Calibration:
    """Training examples, and the loss that labels are to be judged by.

    Attributes:
        inputs: An array for each input of the model, with a leading axis of examples.
        labels: An array for each of its outputs.
        loss: From labels and outputs to the loss of each example, `[batch]`.

    Raises:
        UserError: If there are none, or not as many of each.
    """

    inputs: Arrays
    labels: Arrays
    loss: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        lengths = [len(array) for array in (*self.inputs, *self.labels)]
        if not self.inputs or min(lengths) == 0 or len(set(lengths)) > 1:
            raise UserError(
                "calibration needs examples, as many inputs as labels; received "
                f"{', '.join(map(str, lengths)) or 'none'}."
            )

    @property
    def size(self) -> int:
        """How many examples there are."""
        return len(self.inputs[0])

    @property
    def can_be_fitted_to(self) -> bool:
        """Whether there are enough to fit to some and hold that against others."""
        return self.size >= FEWEST

    @property
    def held_back(self) -> "Calibration":
        """Every fourth example, to hold against it what was found on the others."""
        return self._where(np.arange(self.size) % HELD_BACK == HELD_BACK - 1)

    @property
    def others(self) -> "Calibration":
        """All examples that are not held back."""
        return self._where(np.arange(self.size) % HELD_BACK != HELD_BACK - 1)

    def batches(self) -> Iterator[tuple[Arrays, Arrays]]:
        """The examples in their order, some at a time; no batch is much smaller than another."""
        for rows in np.array_split(np.arange(self.size), -(-self.size // BATCH)):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            yield tuple(x[part] for x in self.inputs), tuple(y[part] for y in self.labels)

    def _where(self, rows: np.ndarray) -> "Calibration":
        inputs, labels = (tuple(x[rows] for x in part) for part in (self.inputs, self.labels))
        return replace(self, inputs=inputs, labels=labels)
