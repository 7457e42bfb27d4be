"""A small fully connected network in NumPy, with its gradients and Adam."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Network:
    """Layers of ReLU and a linear end of one number.

    All weights lie in one vector, so that a step of Adam or towards a target is one operation.

    Attributes:
        widths: The number of inputs, and of each hidden layer's units.
        weights: All of them, `[size(widths)]`.
    """

    widths: tuple[int, ...]
    weights: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The outputs, `[rows]`.

        Args:
            inputs: `[rows, widths[0]]`.
        """
        return self.forward(inputs)[-1][:, 0]

    def forward(self, inputs: np.ndarray) -> list[np.ndarray]:
        """The values of every layer: the inputs, each hidden layer's, and the outputs `[rows, 1]`."""
        values = [inputs]
        for number, (matrix, bias) in enumerate(self._layers):
            reached = values[-1] @ matrix + bias
            values.append(np.maximum(reached, 0.0) if number < len(self.widths) - 1 else reached)
        return values

    def gradients(
        self, values: Sequence[np.ndarray], outputs: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The gradients of the weights, `[size]`, and of the inputs, `[rows, widths[0]]`.

        Args:
            values: What `forward` gave.
            outputs: The gradients of the outputs, `[rows]`.
        """
        found = np.empty_like(self.weights)
        back, end = outputs[:, None], len(found)
        for number, (matrix, _) in reversed(list(enumerate(self._layers))):
            if number < len(self.widths) - 1:
                back = back * (values[number + 1] > 0)
            middle, start = end - matrix.shape[1], end - matrix.shape[1] - matrix.size
            found[middle:end] = back.sum(axis=0)
            np.matmul(values[number].T, back, out=found[start:middle].reshape(matrix.shape))
            back, end = back @ matrix.T, start
        return found, back

    @cached_property
    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        found, start = [], 0
        for rows, columns in zip(self.widths, (*self.widths[1:], 1), strict=True):
            middle = start + rows * columns
            matrix = self.weights[start:middle].reshape(rows, columns)
            found.append((matrix, self.weights[middle : middle + columns]))
            start = middle + columns
        return found


def size(widths: Sequence[int]) -> int:
    """How many weights a network has."""
    ends = (*widths[1:], 1)
    return sum((rows + 1) * columns for rows, columns in zip(widths, ends, strict=True))


def fresh(widths: tuple[int, ...], end: float, rng: np.random.Generator) -> Network:
    """A network with random weights (He et al. 2015) and no biases.

    Args:
        widths: See `Network`.
        end: Standard deviation of the last layer's weights: small, so that outputs start near 0.
        rng: Where chance comes from.
    """
    parts = []
    for rows, columns in zip(widths, (*widths[1:], 1), strict=True):
        spread = np.sqrt(2.0 / rows) if columns > 1 else end
        parts += [rng.normal(0.0, spread, rows * columns), np.zeros(columns)]
    return Network(widths, np.concatenate(parts))


class Adam:
    """Adam (Kingma and Ba 2015) on the weights of one network, in place."""

    def __init__(self, network: Network, rate: float) -> None:
        self._weights, self._rate = network.weights, rate
        self._mean, self._square = np.zeros_like(network.weights), np.zeros_like(network.weights)
        self._steps = 0

    def step(self, gradients: np.ndarray) -> None:
        """Goes one step against the gradients."""
        self._steps += 1
        self._mean += 0.1 * (gradients - self._mean)
        self._square += 0.001 * (gradients * gradients - self._square)
        mean = self._mean / (1 - 0.9**self._steps)
        square = self._square / (1 - 0.999**self._steps)
        self._weights -= self._rate * mean / (np.sqrt(square) + 1e-8)
