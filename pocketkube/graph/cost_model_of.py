"""Makes the cost model of a Keras model: sizes, weights and multiply-adds as sums over kept units."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from pocketkube.graph.calls import LayerCall, layer_calls
from pocketkube.graph.channels import Channels
from pocketkube.graph.contractions import Contraction, contractions_of
from pocketkube.graph.cost import count_call
from pocketkube.graph.cost_model import (
    CallShapes,
    ChannelGroup,
    CostModel,
    Extent,
    Layer,
    Product,
    Shape,
    Weight,
)
from pocketkube.graph.dependency import ChannelGraph, Group, Use, trace_channels
from pocketkube.graph.kernels import input_axes
from pocketkube.graph.kinds import computes_as
from pocketkube.graph.layer_edits import edit_of, kept_around
from pocketkube.graph.macs import attention_projections, count_macs
from pocketkube.graph.ranking import needed_units, rank_units
from pocketkube.graph.walk import functional_graph, walk

layers = keras.layers


def cost_model_of(
    model: keras.Model,
    graph: ChannelGraph | None = None,
    *,
    scores: np.ndarray | None = None,
    round_to: int = 8,
    max_ratio: float = 0.9,
) -> CostModel:
    """What a model costs with any number of its channels.

    Args:
        model: A functional or sequential model.
        graph: Its channel graph, where that is known already.
        scores: Each unit's score, `[units]`, of which a group's best are kept. Which they are matters
            in a group whose units are not alike, as where a residual connection adds to a
            concatenation. None: the first ones are kept.
        round_to: Counts are multiples of this. A group of fewer than four times as many units uses
            half of it, and so on, so that small groups have a choice too; attention heads use 1.
        max_ratio: Most of a group's units that may go.

    Returns:
        The cost model; its costs are those of the model that surgery builds (`profile_model`).

    Raises:
        UserError: If the model is a subclassed one, or a shape beside the batch is not fixed.
    """
    graph = graph or trace_channels(model)
    scores = np.zeros(graph.units.count) if scores is None else scores
    kinds = _Kinds(graph)
    needed = needed_units(graph, scores)
    groups = [
        _group(group, kinds.order(group, ranked), int(needed[group.units].sum()), round_to, max_ratio)
        for group, ranked in zip(graph.groups, rank_units(graph, scores), strict=True)
    ]
    calls: dict[int, list[LayerCall]] = {}
    for call in layer_calls(model):
        calls.setdefault(id(call.op), []).append(call)
    reads = _reads(model)
    seen: set[int] = set()
    made = [_layer(graph, kinds, use, calls[id(use.op)], reads[id(use.op)], seen) for use in graph.uses]
    return CostModel(model.name, tuple(groups), tuple(made), graph.left_whole)


def step_of(group: Group, round_to: int) -> int:
    """What a group's counts are multiples of; see `cost_model_of`."""
    if group.name.endswith("/heads"):
        return 1
    while round_to > 1 and len(group.units) < 4 * round_to:
        round_to //= 2
    return round_to


def _group(
    group: Group, order: tuple[int, ...], needed: int, round_to: int, max_ratio: float
) -> ChannelGroup:
    size, step = len(group.units), step_of(group, round_to)
    fewest = math.ceil(size * (1 - max_ratio) - 1e-9)
    least = min(max(math.ceil(fewest / step) * step, min(step, size)), size)
    return ChannelGroup(group.name, size, step, max(least, needed), group.layers, order)


class _Kinds:
    """Sorts the units of each group by how many positions they have on each side of each layer."""

    def __init__(self, graph: ChannelGraph) -> None:
        self._graph = graph
        kind_of = np.array(graph.units.group_of)
        for call in (call for use in graph.uses for call in use.calls):
            for channels in (*call.inputs, *call.outputs, graph.heads(call.op)):
                if channels is not None:
                    _tell_apart(kind_of, graph.units.of(channels))
        group_at = {int(graph.units.group_of[g.units[0]]): g for g in graph.groups}
        # Of each kind: its group's name, its number there, and a unit that stands for it.
        self._kinds: list[tuple[str, int, int]] = []
        self._of_unit = np.empty(len(kind_of), int)
        self._numbers = dict.fromkeys((g.name for g in graph.groups), 0)
        for kind in np.unique(kind_of):
            units = np.flatnonzero(kind_of == kind)
            name = group_at[int(graph.units.group_of[units[0]])].name
            self._of_unit[units] = len(self._kinds)
            self._kinds.append((name, self._numbers[name], int(units[0])))
            self._numbers[name] += 1

    def order(self, group: Group, ranked: np.ndarray) -> tuple[int, ...]:
        """The kinds of a group's units as they are ranked; empty where all are alike."""
        if self._numbers[group.name] == 1:
            return ()
        return tuple(self._kinds[kind][1] for kind in self._of_unit[ranked])

    def along(self, channels: Channels | None, size: int) -> Extent:
        """How long an axis of `size` positions is, whose channels are these."""
        if channels is None or len(channels.ids) != size:
            return Extent(size)
        units = self._graph.units.of(channels)
        known = units[units >= 0]
        positions = np.bincount(self._of_unit[known], minlength=len(self._kinds))
        per_unit = {
            kind: int(positions[kind] // (self._of_unit == kind).sum())
            for kind in np.flatnonzero(positions).tolist()
        }
        return self._extent(size - len(known), per_unit)

    def of_lengths(self, use: Use, lengths: Callable[[np.ndarray], list[int]]) -> list[Extent]:
        """Lengths as sums over the units around a layer.

        Args:
            use: The layer.
            lengths: From a mask of kept units to the lengths, to which every unit adds its part.
        """
        keep = np.ones(self._graph.units.count, bool)
        whole = lengths(keep)
        per_unit: list[dict[int, int]] = [{} for _ in whole]
        fixed = list(whole)
        for kind in self._around(use):
            unit, many = self._kinds[kind][2], int((self._of_unit == kind).sum())
            keep[unit] = False
            for position, (before, after) in enumerate(zip(whole, lengths(keep), strict=True)):
                if before != after:
                    per_unit[position][kind] = before - after
                    fixed[position] -= many * (before - after)
            keep[unit] = True
        return [self._extent(n, each) for n, each in zip(fixed, per_unit, strict=True)]

    def _around(self, use: Use) -> list[int]:
        sides = (*use.inputs, *use.outputs, self._graph.heads(use.op))
        units = [self._graph.units.of(channels) for channels in sides if channels is not None]
        around = np.concatenate([np.empty(0, int), *units])
        return np.unique(self._of_unit[around[around >= 0]]).tolist()

    def _extent(self, fixed: int, of_kinds: Mapping[int, int]) -> Extent:
        per_unit: dict[str, list[int]] = {}
        for kind, positions in of_kinds.items():
            name, number, _ = self._kinds[kind]
            per_unit.setdefault(name, [0] * self._numbers[name])[number] = positions
        return Extent(fixed, {name: tuple(each) for name, each in per_unit.items()})


def _tell_apart(kind_of: np.ndarray, units: np.ndarray) -> None:
    """Gives units that had one kind, and not as many positions here, different ones; in place."""
    positions = np.bincount(units[units >= 0], minlength=len(kind_of))
    here = np.flatnonzero(positions)
    pairs = np.stack([kind_of[here], positions[here]], axis=1)
    _, found = np.unique(pairs, axis=0, return_inverse=True)
    kind_of[here] = found.reshape(-1) + kind_of.max(initial=0) + 1


def _reads(model: keras.Model) -> dict[int, tuple[str, ...]]:
    """For each layer's id, the paths of the layers that its first call's inputs come from."""
    found: dict[int, tuple[str, ...]] = {}

    def visit(path: str, node: Any, inputs: list[str]) -> list[str]:
        found.setdefault(id(node.operation), tuple(inputs))
        return [path] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [""] * len(function.inputs), visit)
    return found


def _layer(
    graph: ChannelGraph,
    kinds: _Kinds,
    use: Use,
    calls: Sequence[LayerCall],
    reads: tuple[str, ...],
    seen: set[int],
) -> Layer:
    op = use.op
    variables = list(getattr(op, "weights", ()))
    names = [str(variable.path).removeprefix(f"{op.path}/") for variable in variables]
    whole = [tuple(variable.shape) for variable in variables]

    def lengths(keep: np.ndarray) -> list[int]:
        edit = edit_of(use, kept_around(graph, use, keep))
        shapes = (edit.shape(name, shape) for name, shape in zip(names, whole, strict=True))
        groups = int(edit.config.get("groups", getattr(op, "groups", 1)))
        return [groups, *(size for shape in shapes for size in shape)]

    groups, *flat = kinds.of_lengths(use, lengths)
    shapes = list(_shaped(flat, whole))
    weights, inputs = [], input_axes(op) if variables else {}
    for variable, name, shape in zip(variables, names, shapes, strict=True):
        added_up = inputs.get(id(variable), Weight.inputs)
        weights.append(Weight(name, shape, id(variable) not in seen, added_up))
        seen.add(id(variable))
    counts = [count_call(call) for call in calls]
    has_rule = all(count_macs(call) is not None for call in calls)
    heads = graph.heads(op) if has_rule else None
    sums = [contractions_of(op, call.shapes) for call in calls]
    if heads is not None:
        number = kinds.along(heads, len(heads.ids))
        by_id = {id(variable): shape for variable, shape in zip(variables, shapes, strict=True)}
        products = [
            _attention_products(call, count.macs, by_id, number)
            for call, count in zip(calls, counts, strict=True)
        ]
    elif sums[0] and (has_rule or not variables):
        products = [
            _contracted(kinds, each, call, contractions, count.macs)
            for each, call, contractions, count in zip(use.calls, calls, sums, counts, strict=True)
        ]
    else:
        # What is added multiplies nothing, whatever shape it has.
        matrices = [i for i, weight in enumerate(weights) if weight.is_matrix]
        products = [
            _products(count.macs, [shapes[i] for i in matrices], [whole[i] for i in matrices])
            for count in counts
        ]
    made = tuple(
        CallShapes(
            tuple(_tensor(kinds, *sides) for sides in zip(call.shapes, each.inputs, strict=True)),
            tuple(_tensor(kinds, *sides) for sides in zip(call.outputs, each.outputs, strict=True)),
            found,
        )
        for each, call, found in zip(use.calls, calls, products, strict=True)
    )
    around = (shape for call in made for shape in (*call.inputs, *call.outputs))
    cut_somewhere = any(each.per_unit for shape in (*shapes, *around) for each in shape)
    return Layer(
        name=use.path,
        kind=computes_as(op).__name__,
        reads=reads,
        calls=made,
        weights=tuple(weights),
        groups=groups,
        uncounted=tuple(dict.fromkeys(what for count in counts for what in count.uncounted)),
        estimated=not has_rule and cut_somewhere and any(count.macs for count in counts),
        **_options(op),
    )


def _shaped(flat: Sequence[Extent], shapes: Sequence[tuple[int, ...]]) -> Iterator[Shape]:
    start = 0
    for shape in shapes:
        yield tuple(flat[start : start + len(shape)])
        start += len(shape)


def _tensor(kinds: _Kinds, shape: tuple[int, ...], channels: Channels | None) -> Shape:
    extents = [Extent(size) for size in shape[1:]]
    if channels is not None and len(extents) >= -channels.axis:
        extents[channels.axis] = kinds.along(channels, shape[channels.axis])
    return tuple(extents)


def _contracted(
    kinds: _Kinds, use: Use, call: LayerCall, sums: Sequence[Contraction], macs: int
) -> tuple[Product, ...]:
    """Multiply-adds of sums of products: the lengths of all their axes, each once.

    Where their number is another one, it is taken to be in proportion to that: of three factors two
    are multiplied first, and one factor is only added up.
    """
    products = []
    whole = 0
    for each in sums:
        lengths: dict[str, Extent] = {}
        sizes: dict[str, int] = {}
        tensors = [*zip(each.terms, call.shapes, use.inputs, strict=True)]
        if each is sums[-1]:
            tensors.append((each.out, call.outputs[0], use.outputs[0]))
        for letters, shape, channels in tensors:
            if letters:
                sizes |= zip(letters, shape, strict=True)
                extents = (Extent(shape[0]), *_tensor(kinds, shape, channels))
                for letter, extent in zip(letters, extents, strict=True):
                    if letter not in lengths or extent.per_unit:
                        lengths[letter] = extent
        varying = tuple(extent for extent in lengths.values() if extent.per_unit)
        times = math.prod(extent.fixed for extent in lengths.values() if not extent.per_unit)
        products.append(Product(times, varying))
        whole += math.prod(sizes.values())
    if macs == 0:
        return ()
    return tuple(replace(each, times=_number(each.times * macs / whole)) for each in products)


def _products(
    macs: int, matrices: Sequence[Shape], whole: Sequence[tuple[int, ...]]
) -> tuple[Product, ...]:
    """A layer multiplies each number of its matrices equally often, and vectors not at all."""
    if not macs or not any(each.per_unit for shape in matrices for each in shape):
        return (Product(macs),) if macs else ()
    times = macs / sum(map(math.prod, whole))
    return tuple(Product(_number(times), shape) for shape in matrices)


def _attention_products(
    call: LayerCall, macs: int, shapes: Mapping[int, Shape], heads: Extent
) -> tuple[Product, ...]:
    """Projections shrink with their kernels; scores and the weighted sum do with the heads."""
    products = []
    grouped = isinstance(call.op, layers.GroupQueryAttention)
    for tensor, dense in attention_projections(call):
        times = math.prod(tensor[1:-1])
        products.append(Product(times, shapes[id(dense.kernel)]))
        macs -= times * math.prod(dense.kernel.shape)
    number = call.op.num_key_value_heads if grouped else call.op.num_heads
    return (*products, Product(_number(macs / number), (heads,)))


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _options(op: Any) -> dict[str, Any]:
    """What a layer's time depends on beside its shapes."""
    activation = getattr(op, "activation", None)
    return {
        "kernel_size": _numbers(getattr(op, "kernel_size", None) or getattr(op, "pool_size", None)),
        "strides": _numbers(getattr(op, "strides", None)),
        "dilation_rate": _numbers(getattr(op, "dilation_rate", None)),
        "padding": op.padding if isinstance(getattr(op, "padding", None), str) else "",
        "depth_multiplier": int(getattr(op, "depth_multiplier", 1)),
        "use_bias": bool(getattr(op, "use_bias", False)),
        "activation": "" if activation is None else getattr(activation, "__name__", "custom"),
    }


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(each) for each in value) if isinstance(value, tuple | list) else ()
