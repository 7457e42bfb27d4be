"""What an assignment costs, in one number: the budgets that allocation and search keep to.

A budget of another kind, as latency from a table, is one more class with the same methods.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pocketkube.graph.cost_model import CostModel, Extent, Layer

# What a LiteRT file takes beside its weights, measured on small files: so much altogether, and so much
# for each operation with its tensors, names and options.
FILE_BYTES = 2500
OPERATION_BYTES = 300
FLOAT_BYTES = 4
# An int8 kernel has a scale and a zero point for each output channel, and so has its bias.
INT8_CHANNEL_BYTES = 2 * (4 + 8)


class Budget(Protocol):
    """A cost that shall not be more than so much: subclass it and write `costs`.

    Attributes:
        model: The network whose costs these are.
        name: What is counted, as "MACs".
        unit: In which unit; "" for a plain number.
    """

    model: CostModel
    name: str
    unit: str

    @property
    def unknown(self) -> tuple[str, ...]:
        """Name and kind of each layer that costs more than what is counted."""
        return ()

    @property
    def is_exact(self) -> bool:
        """Whether what is counted is no estimate, for every assignment."""
        return True

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """The costs of several assignments.

        Args:
            counts: Units that each group keeps, `[assignments, groups]`.

        Returns:
            One cost for each assignment, `[assignments]`.
        """
        ...

    def cost(self, assignment: Mapping[str, int]) -> float:
        """The cost of one assignment: how many units each group keeps, by the group's name.

        Raises:
            UserError: If there is no such group, or it has not so many units.
        """
        return float(self.costs(self.model.counts(assignment)[None])[0])


@dataclass(frozen=True)
class Macs(Budget):
    """Multiply-adds at batch size 1."""

    model: CostModel
    name: str = "MACs"
    unit: str = ""

    @property
    def unknown(self) -> tuple[str, ...]:
        """Layers that may multiply what is not counted."""
        return self.model.unknown

    @property
    def is_exact(self) -> bool:
        """Whether all layers' multiply-adds are known however they are cut."""
        return self.model.is_exact

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Multiply-adds of each assignment."""
        return np.asarray(self.model.macs(counts), float)


@dataclass(frozen=True)
class Parameters(Budget):
    """Numbers in all weights, trainable or not."""

    model: CostModel
    name: str = "parameters"
    unit: str = ""

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Parameters of each assignment."""
        return np.asarray(self.model.parameters(counts), float)


@dataclass(frozen=True)
class FileBytes(Budget):
    """An estimate of how large the LiteRT file is.

    Matrices take their bits, rounded up to whole bytes for each weight. Vectors take 4 bytes for each
    number, as LiteRT keeps biases; a BatchNormalization that follows a convolution or dense layer is
    merged into its kernel and bias, and takes those of a bias. Each int8 output channel adds the scales
    and zero points of kernel and bias, each operation 300 bytes, each file 2500.

    Attributes:
        bits: Bits of each number of a layer's matrices, by the layer's name.
        default_bits: Those of a layer that is not named.
    """

    model: CostModel
    bits: Mapping[str, int] = field(default_factory=dict)
    default_bits: int = 32
    name: str = "file size"
    unit: str = "bytes"

    @property
    def is_exact(self) -> bool:
        """It is an estimate."""
        return False

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Bytes of the file of each assignment."""
        layers = {layer.name: layer for layer in self.model.layers}
        numbers: list[float] = []
        int8_channels: list[Extent] = []
        constant = FILE_BYTES
        for layer in layers.values():
            source = layers.get(layer.reads[0]) if layer.kind == NORM and layer.reads else None
            merged = source is not None and _has_matrix(source)
            constant += 0 if merged else OPERATION_BYTES
            bits = self.bits.get(layer.name, self.default_bits)
            if bits <= 8 and _has_matrix(layer):
                int8_channels.append(layer.calls[0].outputs[0][-1])
            for weight in layer.weights:
                if len(weight.shape) > 1:
                    numbers.append(bits / 8)
                elif layer.kind == NORM:
                    kept = () if source is not None and source.use_bias else KEPT_STATISTICS[merged]
                    numbers.append(FLOAT_BYTES * (weight.name in kept))
                else:
                    numbers.append(FLOAT_BYTES)
        sizes = self.model.weight_sizes(counts)
        channels = self.model.lengths(int8_channels, counts).sum(axis=1)
        return np.ceil(sizes * np.array(numbers)).sum(axis=1) + INT8_CHANNEL_BYTES * channels + constant


NORM = "BatchNormalization"
# Of a BatchNormalization that is merged: a bias; of one that is not: a scale and an offset.
KEPT_STATISTICS = {True: ("moving_mean",), False: ("moving_mean", "moving_variance")}


def _has_matrix(layer: Layer) -> bool:
    return any(len(weight.shape) > 1 for weight in layer.weights)
