"""What an assignment costs, in one number: the budgets that allocation and search keep to.

A budget of another kind, as latency from a table, is one more class with the same methods.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from pocketkube.graph.cost_model import CostModel, Extent, Layer

# Latencies are budgets in nanoseconds.
NS_PER_MS = 1e6
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
        bits = [
            self.bits.get(layer.name, self.default_bits)
            for layer in self.model.layers
            for _ in layer.weights
        ]
        return self.costs_at(counts, np.array([bits]))

    def costs_at(self, counts: np.ndarray, bits: np.ndarray) -> np.ndarray:
        """Bytes of the file at other bits.

        Args:
            counts: Units that each group keeps, `[assignments, groups]`.
            bits: Bits of each weight that is a matrix, in the order of layers and their weights,
                `[assignments or 1, weights]`.

        Returns:
            One cost for each assignment, `[assignments]`.
        """
        facts = self._facts
        sizes = self.model.weight_sizes(counts)
        numbers = np.where(facts.is_matrix, bits / 8, facts.vector_bytes)
        channels = self.model.lengths(facts.outputs, counts) * (bits[:, facts.matrices] <= 8)
        scales = INT8_CHANNEL_BYTES * channels.sum(axis=1)
        return np.ceil(sizes * numbers).sum(axis=1) + scales + facts.constant

    @cached_property
    def _facts(self) -> "_FileFacts":
        return _file_facts(self.model.layers)


@dataclass(frozen=True)
class _FileFacts:
    """What a file's bytes follow from.

    Attributes:
        constant: Bytes that no weights take.
        is_matrix: Whether each weight is one, `[weights]`.
        vector_bytes: Bytes of each number of what is none, `[weights]`.
        matrices: The number of the first matrix of each layer that has one.
        outputs: These layers' output channels.
    """

    constant: int
    is_matrix: np.ndarray
    vector_bytes: np.ndarray
    matrices: np.ndarray
    outputs: tuple[Extent, ...]


def _file_facts(layers: Sequence[Layer]) -> _FileFacts:
    named = {layer.name: layer for layer in layers}
    constant = FILE_BYTES
    is_matrix: list[bool] = []
    vector_bytes: list[int] = []
    matrices: list[int] = []
    outputs: list[Extent] = []
    for layer in layers:
        source = named.get(layer.reads[0]) if layer.kind == NORM and layer.reads else None
        merged = source is not None and _has_matrix(source)
        constant += 0 if merged else OPERATION_BYTES
        kept = () if source is not None and source.use_bias else KEPT_STATISTICS[merged]
        if _has_matrix(layer):
            first = next(i for i, weight in enumerate(layer.weights) if len(weight.shape) > 1)
            matrices.append(len(is_matrix) + first)
            outputs.append(layer.calls[0].outputs[0][-1])
        for weight in layer.weights:
            is_matrix.append(len(weight.shape) > 1)
            vector_bytes.append(FLOAT_BYTES * (layer.kind != NORM or weight.name in kept))
    return _FileFacts(
        constant,
        np.array(is_matrix, bool),
        np.array(vector_bytes, float),
        np.array(matrices, int),
        tuple(outputs),
    )


NORM = "BatchNormalization"
# Of a BatchNormalization that is merged: a bias; of one that is not: a scale and an offset.
KEPT_STATISTICS = {True: ("moving_mean",), False: ("moving_mean", "moving_variance")}


def _has_matrix(layer: Layer) -> bool:
    return any(len(weight.shape) > 1 for weight in layer.weights)
