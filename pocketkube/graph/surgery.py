"""Builds the smaller model that is left when some channels go."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from pocketkube.graph.compile_settings import compile_like
from pocketkube.graph.dependency import ChannelGraph, Use, trace_channels
from pocketkube.graph.edit import Kept, LayerEdit
from pocketkube.graph.layer_edits import edit_of, kept_around
from pocketkube.graph.sharing import LayerMaker, compute_from_variables, paired_variables
from pocketkube.graph.walk import entering_values, functional_graph, is_model, ordered_nodes
from pocketkube.keras_private import inputs_structure, origin, outputs_structure


def remove_channels(model: keras.Model, graph: ChannelGraph, keep: np.ndarray) -> keras.Model:
    """Builds a model that has only the channels to keep, with their weights.

    The new model is made of ordinary layers of the same types and names. It computes what `model`
    would if the channels that go were zero wherever they are used.

    Args:
        model: The model that `graph` was traced from; it is left as it is.
        graph: Its channel graph.
        keep: One boolean for each of the graph's units: whether it is kept.

    Returns:
        The smaller model, compiled as `model` is, where that is.

    Raises:
        ValueError: If `keep` has not one entry for each unit, or a group would lose all of them.
    """
    keep = np.asarray(keep, bool)
    if keep.shape != (graph.units.count,):
        raise ValueError(
            f"keep needs {graph.units.count} entries, one for each unit. Received: shape {keep.shape}"
        )
    for group in graph.groups:
        if not keep[group.units].any():
            raise ValueError(f"every group keeps at least one unit. Received none for {group.name}")
    surgeon = _Surgeon(graph, keep)
    smaller = surgeon.rebuild_model(model)
    surgeon.carry_weights()
    compile_like(smaller, model)
    return smaller


def copy_model(model: keras.Model) -> keras.Model:
    """A second model with the same layers, names and weights."""
    graph = trace_channels(model)
    return remove_channels(model, graph, np.ones(graph.units.count, bool))


class _Surgeon:
    def __init__(self, graph: ChannelGraph, keep: np.ndarray) -> None:
        self._uses = {id(use.op): use for use in graph.uses}
        self._kept = {id(use.op): kept_around(graph, use, keep) for use in graph.uses}
        self._edits = {id(use.op): edit_of(use, self._kept[id(use.op)]) for use in graph.uses}
        self._maker = LayerMaker({use.path: use.op for use in graph.uses}, self._changes)
        self._models: dict[int, keras.Model] = {}
        self._made: dict[int, tuple[Any, Any]] = {}

    def rebuild_model(self, model: keras.Model) -> keras.Model:
        function = functional_graph(model)
        new = {
            id(x): keras.Input(batch_shape=x.shape, dtype=x.dtype, name=_input_name(x), sparse=x.sparse)
            for x in function.inputs
        }
        return self._rebuild(model, function, new)

    def _rebuild(self, model: keras.Model, function: Any, new: dict[int, Any]) -> keras.Model:
        inputs = keras.tree.map_structure(lambda x: new[id(x)], inputs_structure(function))
        for node in ordered_nodes(function):
            if any(id(x) not in new for x in node.input_tensors):
                continue
            tensors = [new[id(x)] for x in node.input_tensors]
            args, kwargs = self._maker.arguments(*node.arguments.fill_in(new))
            args, kwargs = self._fitting(node.operation, args, kwargs)
            results = self._smaller(node.operation, tensors)(*args, **kwargs)
            new |= zip(map(id, node.outputs), keras.tree.flatten(results), strict=True)
        outputs = keras.tree.map_structure(lambda x: new[id(x)], outputs_structure(function))
        smaller = keras.Model(inputs, outputs, name=model.name)
        if not model.trainable:
            smaller.trainable = False
        return smaller

    def _smaller(self, op: Any, tensors: Sequence[Any]) -> Any:
        if is_model(op):
            if id(op) not in self._models:
                self._models[id(op)] = self._smaller_model(op, tensors)
                self._maker.made(op, self._models[id(op)])
            return self._models[id(op)]
        if id(op) not in self._made:
            self._made[id(op)] = op, self._maker.make(op)
        return self._made[id(op)][1]

    def _changes(self, op: Any) -> Mapping[str, Any]:
        if id(op) not in self._uses:
            return {}
        shape = _shape_config(self._uses[id(op)], self._kept[id(op)])
        return {**self._edits[id(op)].config, **shape}

    def _fitting(self, op: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """A call's arguments, with those in place that change with the channels that are left."""
        edit = self._edits.get(id(op))
        if edit is None or not edit.arguments:
            return args, kwargs
        bound = inspect.signature(op.call).bind(*args, **kwargs)
        bound.arguments |= edit.arguments
        return bound.args, bound.kwargs

    def _smaller_model(self, model: keras.Model, tensors: Sequence[Any]) -> keras.Model:
        function = functional_graph(model)
        new = {
            # Another call may give it another size, where it takes any.
            id(x): keras.Input(
                batch_shape=[
                    None if any_size is None else size
                    for any_size, size in zip(x.shape, (x.shape[0], *now.shape[1:]), strict=True)
                ],
                dtype=x.dtype,
                name=_input_name(x),
            )
            for x, now in zip(function.inputs, entering_values(function, tensors), strict=True)
        }
        return self._rebuild(model, function, new)

    def carry_weights(self) -> None:
        self._maker.share()
        for key, (old, new) in self._made.items():
            edit: LayerEdit = self._edits[key]
            for was, now in paired_variables(old, new):
                now.assign(edit.apply(_end_of_path(was, old), np.asarray(was)))
            compute_from_variables(new)


def _input_name(tensor: Any) -> str:
    return str(origin(tensor)[0].name)


def _end_of_path(variable: Any, layer: Any) -> str:
    return str(variable.path).removeprefix(f"{layer.path}/")


def _shape_config(use: Use, kept: Kept) -> Mapping[str, Any]:
    """The written-down shape of a reshaping operation, with the channels that are left."""
    (name,) = {"target_shape", "newshape"} & set(vars(use.op)) or (None,)
    if name is None or use.outputs[0] is None:
        return {}
    shape = list(use.op.target_shape if name == "target_shape" else use.op.newshape)
    axis = use.outputs[0].axis
    if shape[axis] != -1:
        shape[axis] = len(kept.outputs[0])
    return {name: tuple(shape)}
