"""How many bytes a LiteRT file takes, by how it stores a network's weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np

from pocketkube.graph.budgets import Budget
from pocketkube.graph.cost_model import CostModel, Extent, Layer, Shape, Weight

FileNumbers = Literal["float32", "float16", "dynamic", "int8"]

# What a file takes beside its weights where none was measured: so much altogether, and so much for each
# operation with its tensors, names and options.
FILE_BYTES = 2500
OPERATION_BYTES = 300
FLOAT_BYTES: Mapping[str, int] = {"float32": 4, "float16": 2}
# Of biases, which are floats or integers of 32 bits.
VECTOR_BYTES = 4
# Each tensor's content begins at a multiple of this.
ALIGNMENT = 16
FOUR_BITS = 4
# A scale and a zero point.
CHANNEL_BYTES = 4 + 8
# The converter leaves what has fewer numbers in floats where activations are floats.
LEAST_DYNAMIC = 1024
# The converter leaves zeros out from this part of a matrix on.
LEAST_ZEROS = 0.3
# An operation that fills the zeros in again, its tensor and the name: the least that was seen of them,
# as names take up to 250 bytes more. A file that is measured has as many zeros as there may be: one
# with fewer is foreseen too large by some names, and not too small.
DENSIFY_BYTES: Mapping[str, int] = {"float32": 220, "float16": 215}
# The operation's code, which all share.
DENSIFY_CODE_BYTES = 64


@dataclass(frozen=True)
class FileForm:
    """How a LiteRT file stores a network.

    Attributes:
        numbers: Its number format, as `convert_litert` has it.
        bits: Bits of the levels that a layer's matrices are on, by the layer's name.
        default_bits: Those of a layer that is not named.
        leaves_zeros_out: Whether matrices with many zeros are stored without them; never integers.
        container_bytes: What the file takes beside its weights: measured on one file of the network, or
            None for an estimate by its operations.
    """

    numbers: FileNumbers = "float32"
    bits: Mapping[str, int] = field(default_factory=dict)
    default_bits: int = 8
    leaves_zeros_out: bool = False
    container_bytes: int | None = None


@dataclass(frozen=True)
class FileBytes(Budget):
    """How large the LiteRT file is.

    A file of floats takes 4 or 2 bytes for each number, on however few levels they are. A file of
    integers takes half a byte for each number of a matrix on 2 to 4 bits, and a byte for one on 5 to 8,
    as LiteRT has no widths between; with float activations ("dynamic") matrices of fewer than 1024
    numbers stay float32, and depthwise ones take a byte. Vectors take 4 bytes for each number; a
    BatchNormalization that follows a convolution or dense layer is merged into its kernel and bias, and
    takes those of a bias. Each output channel of integers adds a scale and a zero point, of the kernel
    and of an integer bias. Float matrices of which 0.3 or more are zero take, where zeros are left out,
    the others and an index of 1 or 2 bytes for each.

    Attributes:
        form: How it stores the network.
    """

    model: CostModel
    form: FileForm = FileForm()
    name: str = "file size"
    unit: str = "bytes"

    @property
    def is_exact(self) -> bool:
        """It is an estimate."""
        return False

    def costs(self, counts: np.ndarray) -> np.ndarray:
        """Bytes of the file of each assignment."""
        return self.costs_at(counts, self.known_bits)

    @cached_property
    def known_bits(self) -> np.ndarray:
        """Bits of each weight by the form alone, `[1, weights]`."""
        known, default = self.form.bits, self.form.default_bits
        return np.array(
            [[known.get(layer.name, default) for layer in self.model.layers for _ in layer.weights]]
        )

    def costs_at(
        self, counts: np.ndarray, bits: np.ndarray, sparsity: np.ndarray | None = None
    ) -> np.ndarray:
        """Bytes of the file at other bits and with zeros.

        Args:
            counts: Units that each group keeps, `[assignments, groups]`.
            bits: Bits of each weight that is a matrix, in the order of layers and their weights,
                `[assignments or 1, weights]`.
            sparsity: The part of each weight that is zero, likewise; None for no zeros.

        Returns:
            One cost for each assignment, `[assignments]`.
        """
        facts, numbers = self._facts, self.form.numbers
        sizes = self.model.weight_sizes(counts)
        if numbers in FLOAT_BYTES:
            size_bytes = sizes * (FLOAT_BYTES[numbers] * facts.is_stored)
            extra: np.ndarray | float = 0.0
            if sparsity is not None and self.form.leaves_zeros_out:
                size_bytes, extra = self._without_zeros(counts, sizes, size_bytes, sparsity)
        else:
            in_four = (bits <= FOUR_BITS) & (facts.in_four | (numbers == "int8"))
            widths = np.where(facts.is_matrix, np.where(in_four, 0.5, 1.0), VECTOR_BYTES)
            size_bytes = np.ceil(sizes * (widths * facts.is_stored))
            channels = self.model.lengths(facts.outputs, counts)
            if numbers == "dynamic":
                is_float = sizes < LEAST_DYNAMIC
                size_bytes = np.where(is_float & facts.is_matrix, VECTOR_BYTES * sizes, size_bytes)
                extra = CHANNEL_BYTES * (channels * ~is_float[:, facts.matrices]).sum(axis=1)
            else:
                extra = 2 * CHANNEL_BYTES * channels.sum(axis=1)
        aligned = np.ceil(size_bytes / ALIGNMENT) * ALIGNMENT
        return aligned.sum(axis=1) + extra + self._container

    def measured(self, file_bytes: int, cost: float) -> FileForm:
        """The form with a container such that what cost so much takes as many bytes as a real file.

        Args:
            file_bytes: Of the real file.
            cost: What this budget says of the same network.
        """
        return replace(self.form, container_bytes=self._container + file_bytes - int(cost))

    @property
    def _container(self) -> int:
        if self.form.container_bytes is not None:
            return self.form.container_bytes
        # As if some zeros were left out: were it decided by all matrices together, no cost would be a
        # sum of theirs any more.
        code = DENSIFY_CODE_BYTES if self.form.leaves_zeros_out else 0
        return self._facts.container + code

    def _without_zeros(
        self, counts: np.ndarray, sizes: np.ndarray, size_bytes: np.ndarray, sparsity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bytes of the numbers that are stored, and of what tells where they are."""
        facts = self._facts
        stored = sizes - np.rint(sparsity * sizes)
        is_sparse = facts.is_matrix & (sizes - stored >= LEAST_ZEROS * sizes) & (sizes > 0)
        inputs = self.model.lengths([axis for axes in facts.inputs for axis in axes], counts)
        inputs = inputs.reshape(len(sizes), len(facts.inputs), -1).prod(axis=2)
        rows = sizes / np.maximum(inputs, 1)
        # An index within a row for each number, and where each row begins.
        indices = stored * _index_bytes(sizes / np.maximum(rows, 1) - 1)
        starts = (rows + 1) * _index_bytes(stored)
        extra = np.where(is_sparse, indices + starts + DENSIFY_BYTES[self.form.numbers], 0).sum(axis=1)
        return np.where(is_sparse, FLOAT_BYTES[self.form.numbers] * stored, size_bytes), extra

    @cached_property
    def _facts(self) -> "_FileFacts":
        return _file_facts(self.model.layers)


def _index_bytes(largest: np.ndarray) -> np.ndarray:
    """Bytes of an unsigned integer that counts so far."""
    return np.where(largest < 2**8, 1, np.where(largest < 2**16, 2, 4))


@dataclass(frozen=True)
class _FileFacts:
    """What a file's bytes follow from.

    Attributes:
        container: Bytes that no weights take, as an estimate.
        is_matrix: Whether each weight is one, `[weights]`.
        is_stored: Whether it is in the file, `[weights]`.
        in_four: Whether it is a matrix that is computed in 4 bits with float activations, `[weights]`.
        inputs: The axes of input channels of each matrix, and any of what is none: as many for each, of
            which some have the length 1, `[weights, most axes]`.
        matrices: The number of the first matrix of each layer that has one.
        outputs: These layers' output channels.
    """

    container: int
    is_matrix: np.ndarray
    is_stored: np.ndarray
    in_four: np.ndarray
    inputs: tuple[Shape, ...]
    matrices: np.ndarray
    outputs: tuple[Extent, ...]


def _file_facts(layers: Sequence[Layer]) -> _FileFacts:
    named = {layer.name: layer for layer in layers}
    container = FILE_BYTES
    is_stored: list[bool] = []
    matrices: list[int] = []
    outputs: list[Extent] = []
    for layer in layers:
        source = named.get(layer.reads[0]) if layer.kind == NORM and layer.reads else None
        merged = source is not None and _has_matrix(source)
        container += 0 if merged else OPERATION_BYTES
        kept = () if source is not None and source.use_bias else KEPT_STATISTICS[merged]
        if _has_matrix(layer):
            first = next(i for i, weight in enumerate(layer.weights) if weight.is_matrix)
            matrices.append(len(is_stored) + first)
            outputs.append(layer.calls[0].outputs[0][-1])
        is_stored += [layer.kind != NORM or weight.name in kept for weight in layer.weights]
    weights = [weight for layer in layers for weight in layer.weights]
    is_matrix = np.array([weight.is_matrix for weight in weights], bool)
    is_depthwise = np.array([weight.name.endswith(DEPTHWISE) for weight in weights], bool)
    # LiteRT's depthwise convolutions with float activations know 8 bits alone.
    of_depthwise = [layer.kind in DEPTHWISE_KINDS for layer in layers for _ in layer.weights]
    return _FileFacts(
        container,
        is_matrix,
        np.array(is_stored, bool),
        is_matrix & ~is_depthwise & ~np.array(of_depthwise, bool),
        _inputs(weights),
        np.array(matrices, int),
        tuple(outputs),
    )


NORM = "BatchNormalization"
DEPTHWISE = "depthwise_kernel"
DEPTHWISE_KINDS = ("DepthwiseConv1D", "DepthwiseConv2D")
# Of a BatchNormalization that is merged: a bias; of one that is not: a scale and an offset.
KEPT_STATISTICS = {True: ("moving_mean",), False: ("moving_mean", "moving_variance")}


def _has_matrix(layer: Layer) -> bool:
    return any(weight.is_matrix for weight in layer.weights)


def _inputs(weights: Sequence[Weight]) -> tuple[Shape, ...]:
    found = [
        tuple(weight.shape[axis] for axis in weight.inputs) if weight.is_matrix else ()
        for weight in weights
    ]
    most = max(map(len, found), default=0)
    return tuple(axes + (Extent(1),) * (most - len(axes)) for axes in found)
