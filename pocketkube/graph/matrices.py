"""Which weight of a layer mixes channels, and along which of its axes they come in and go out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pocketkube.graph.contraction_rules import made_letter
from pocketkube.graph.contractions import contractions_of
from pocketkube.graph.dependency import ChannelGraph, Use
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_rules import known_as, rules_of
from pocketkube.graph.propagation import cuts_whole_groups
from pocketkube.graph.recurrent import cells_of, gates_of, obstacle

layers = keras.layers


@dataclass(frozen=True)
class Side:
    """One axis of a mixing weight.

    Attributes:
        path: The layer's path.
        weight: The weight.
        axis: The axis.
        units: Unit of each position along it, or -1.
        gates: How many times all units lie along it, one after the other.
    """

    path: str
    weight: Any
    axis: int
    units: np.ndarray
    gates: int = 1

    def sums(self, values: np.ndarray, count: int) -> np.ndarray:
        """Sums of `values`, shaped as the weight, over all but this axis, for each of `count` units."""
        axes = tuple(a for a in range(values.ndim) if a != self.axis % values.ndim)
        known = self.units >= 0
        return np.bincount(self.units[known], values.sum(axis=axes)[known], count)


def makers(graph: ChannelGraph) -> Iterator[Side]:
    """The weights that make channels: a convolution's filters, a dense layer's columns."""
    for use in graph.uses:
        name, _, axis = _matrix(use) or ("", None, 0)
        if name and axis is not None and use.outputs[0] is not None:
            yield Side(use.path, weight_of(use.op, name), axis, graph.units.of(use.outputs[0]))
    for path, cell, units in states(graph):
        for weight in (cell.kernel, cell.recurrent_kernel):
            yield Side(path, weight, 1, np.tile(units, gates_of(cell)), gates_of(cell))


def consumers(graph: ChannelGraph) -> Iterator[Side]:
    """The weights that mix channels into others; a unit that reaches none of them is a head's."""
    for use in graph.uses:
        if not consumes(use):
            continue
        assert use.inputs[0] is not None
        name, axis, _ = _matrix(use) or ("", None, 0)
        if axis is not None:
            weight = weight_of(use.op, name)
            # A grouped convolution's kernel has one group's channels; the others' go with them.
            units = graph.units.of(use.inputs[0])[: weight.shape[axis]]
            yield Side(use.path, weight, axis, units)
        for cell in cells_of(use.op):
            yield Side(use.path, cell.kernel, 0, graph.units.of(use.inputs[0]))


def inner_consumers(graph: ChannelGraph) -> Iterator[Side]:
    """The weights that mix what is read within a layer: attention heads, recurrent units."""
    yield from heads(graph)
    for path, cell, units in states(graph):
        yield Side(path, cell.recurrent_kernel, 0, units)


def heads(graph: ChannelGraph) -> Iterator[Side]:
    """The weights that mix the heads of attention layers."""
    for use in graph.uses:
        channels = graph.heads(use.op)
        if channels is not None:
            kernel = weight_of(use.op, "attention_output/kernel")
            units = graph.units.of(channels)
            # Of grouped queries, several heads go with one of keys and values.
            yield Side(use.path, kernel, 0, np.repeat(units, kernel.shape[0] // len(units)))


def states(graph: ChannelGraph) -> Iterator[tuple[str, Any, np.ndarray]]:
    """The cells of recurrent layers: the layer's path, the cell, and the unit of each number of it."""
    for use in graph.uses:
        made = graph.units.made.get(id(use.op))
        for cell in cells_of(use.op) if made is not None else ():
            yield use.path, cell, graph.units.unit_of[made]


def consumes(use: Use) -> bool:
    """Whether the channels of a layer's first input end there, in all of its outputs."""
    if not mixes(use.op) or not use.inputs or use.inputs[0] is None:
        return False
    if known_as(use.op) is layers.EinsumDense:
        return bool(_einsum_matrix(use)[1] is not None)
    if use.inputs[0].axis != -1:
        return False
    if getattr(use.op, "groups", 1) > 1:
        return not cuts_whole_groups(use.op, use.inputs[0].ids)
    return getattr(use.op, "depth_multiplier", 1) == 1


def mixes(op: Any) -> bool:
    """Whether a layer mixes channels into others."""
    return matrix_of(op) is not None or bool(cells_of(op))


def matrix_of(op: Any) -> tuple[str, int | None, int] | None:
    """The weight with which a layer mixes channels, as in `MATRICES`; None where it has none."""
    if obstacle(op) is not None:
        return None
    added = rules_of(op)
    return added.matrix if added else MATRICES.get(computes_as(op))


def _matrix(use: Use) -> tuple[str, int | None, int | None] | None:
    return _einsum_matrix(use) if known_as(use.op) is layers.EinsumDense else matrix_of(use.op)


def _einsum_matrix(use: Use) -> tuple[str, int | None, int | None]:
    """Where an EinsumDense's channels come in and go out, which its equation says."""
    (contraction,) = contractions_of(use.op, [(None,) * use.rank])
    into, out = use.inputs[0], use.outputs[0]
    came = contraction.terms[0][into.axis] if into is not None else ""
    went = contraction.out[out.axis] if out is not None else ""
    ends = came and came in contraction.kernel and came not in contraction.out
    makes = went and went == made_letter(contraction)
    return (
        "kernel",
        contraction.kernel.index(came) if ends else None,
        contraction.kernel.index(went) if makes else None,
    )


def weight_of(layer: Any, end: str) -> Any:
    """The weight of `layer` whose path ends in `end`."""
    return next(w for w in layer.weights if w.path.endswith(f"/{end}") or w.path == end)


# The weight's name, the axis of incoming channels (None: they have none there) and of outgoing ones.
MATRICES: dict[type, tuple[str, int | None, int]] = {
    layers.Dense: ("kernel", 0, 1),
    layers.TimeDistributed: ("kernel", 0, 1),
    # Of most equations; an EinsumDense's own says where they are.
    layers.EinsumDense: ("kernel", 0, -1),
    layers.Embedding: ("embeddings", None, 1),
    **dict.fromkeys(
        (layers.MultiHeadAttention, layers.GroupQueryAttention), ("attention_output/kernel", None, -1)
    ),
    **dict.fromkeys((layers.Conv1D, layers.Conv2D, layers.Conv3D), ("kernel", -2, -1)),
    **dict.fromkeys(
        (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), ("kernel", -1, -2)
    ),
    **dict.fromkeys((layers.SeparableConv1D, layers.SeparableConv2D), ("pointwise_kernel", -2, -1)),
}
