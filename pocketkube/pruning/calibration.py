"""The examples that pruning looks at: never the test set's."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pocketkube.data.dataset import Arrays

BATCH = 64


@dataclass(frozen=True)
class Calibration:
    """Training examples, and the loss that labels are to be judged by.

    Attributes:
        inputs: An array for each input of the model, with a leading axis of examples.
        labels: An array for each of its outputs.
        loss: From labels and outputs to the loss of each example, `[batch]`.
    """

    inputs: Arrays
    labels: Arrays
    loss: Callable[[Any, Any], Any]

    @property
    def size(self) -> int:
        """How many examples there are."""
        return len(self.inputs[0])

    def batches(self) -> Iterator[tuple[Arrays, Arrays]]:
        """The examples in their order, some at a time."""
        for start in range(0, self.size, BATCH):
            rows = slice(start, start + BATCH)
            yield tuple(x[rows] for x in self.inputs), tuple(y[rows] for y in self.labels)
