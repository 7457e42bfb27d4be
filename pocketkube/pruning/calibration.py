"""The examples that pruning looks at: never the test set's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pocketkube.data.dataset import Arrays
from pocketkube.errors import UserError

BATCH = 64


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

    def batches(self) -> Iterator[tuple[Arrays, Arrays]]:
        """The examples in their order, some at a time."""
        for start in range(0, self.size, BATCH):
            rows = slice(start, start + BATCH)
            yield tuple(x[rows] for x in self.inputs), tuple(y[rows] for y in self.labels)
