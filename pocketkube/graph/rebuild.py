"""Rebuilds a functional model call by call, its nested models and all names kept."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from pocketkube.graph.walk import entering_values, filled_in, functional_graph, is_model, own_nodes
from pocketkube.keras_private import inputs_structure, origin, outputs_structure


class Rebuilder:
    """Makes a new model of the calls of an old one; as it stands, of the same layers.

    A nested model is rebuilt at its first call; where it is shared, the rebuilt one is called again.
    """

    def __init__(self) -> None:
        self._models: dict[int, tuple[keras.Model, list[Any]]] = {}
        self._times: Counter[int] = Counter()

    def rebuild(self, model: keras.Model) -> keras.Model:
        """The new model, in the structure and by the name of the old one."""
        function = functional_graph(model)
        self._times = Counter(id(node.operation) for _, node in static_calls(function))
        inputs = [_input_like(x) for x in function.inputs]
        begun = [self.begin(origin(x)[0].name, x) for x in inputs]
        return self._model_of(model, function, inputs, begun, "")[0]

    def begin(self, name: str, tensor: Any) -> Any:
        """What layers see in the place of an input of the model; not of a nested one."""
        return tensor

    def compute(self, path: str, node: Any, tensors: list[Any]) -> Sequence[Any]:
        """Computes a call.

        Args:
            path: The layer's or operation's name, with those of the models around it.
            node: The call in the old model.
            tensors: The new model's tensors in the place of the call's inputs.

        Returns:
            Those in the place of its outputs.
        """
        args, kwargs = filled_in(node, tensors)
        return keras.tree.flatten(node.operation(*args, **kwargs))

    def pass_on(self, source: Any, target: Any) -> None:
        """Called where a tensor enters or leaves a nested model that is called once, or leaves another.

        Args:
            source: The tensor on this side.
            target: The same on the other side.
        """

    def rebuilt(self, model: keras.Model, new: keras.Model) -> None:
        """Called when a nested model was rebuilt, before it is called."""

    def _compute_model(self, path: str, node: Any, tensors: list[Any]) -> list[Any]:
        model = node.operation
        if id(model) not in self._models:
            function = functional_graph(model)
            inputs = [_input_like(x) for x in function.inputs]
            if self._times[id(model)] == 1:
                for source, target in zip(entering_values(function, tensors), inputs, strict=True):
                    self.pass_on(source, target)
            self._models[id(model)] = self._model_of(model, function, inputs, inputs, f"{path}/")
            self.rebuilt(model, self._models[id(model)][0])
        new, ended = self._models[id(model)]
        args, kwargs = filled_in(node, tensors)
        results = keras.tree.flatten(new(*args, **kwargs))
        for source, target in zip(ended, results, strict=True):
            self.pass_on(source, target)
        return results

    def _model_of(
        self, model: keras.Model, function: Any, inputs: list[Any], begun: list[Any], prefix: str
    ) -> tuple[keras.Model, list[Any]]:
        new = dict(zip(map(id, function.inputs), begun, strict=True))
        for node in own_nodes(function):
            op = node.operation
            tensors = [new[id(x)] for x in node.input_tensors]
            compute = self._compute_model if is_model(op) else self.compute
            results = compute(prefix + op.name, node, tensors)
            new |= zip(map(id, node.outputs), results, strict=True)
        # An input that the model returns has no layer whose name could be kept but its own.
        given = new | dict(zip(map(id, function.inputs), inputs, strict=True))
        ended = [given[id(x)] for x in function.outputs]
        outer = keras.tree.pack_sequence_as(inputs_structure(function), inputs)
        outputs = keras.tree.pack_sequence_as(outputs_structure(function), ended)
        return keras.Model(outer, outputs, name=model.name), ended


def static_calls(function: Any) -> Iterator[tuple[str, Any]]:
    """Every call as it is written down: those in a nested model once, however often that is called.

    Args:
        function: The model, as `functional_graph` gives it.

    Yields:
        The path of what is called, nested models included, and the node.
    """
    seen: set[int] = set()

    def within(function: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for node in own_nodes(function):
            path = prefix + node.operation.name
            yield path, node
            if is_model(node.operation) and id(node.operation) not in seen:
                seen.add(id(node.operation))
                yield from within(functional_graph(node.operation), f"{path}/")

    yield from within(function, "")


def _input_like(tensor: Any) -> Any:
    name = origin(tensor)[0].name
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name, sparse=tensor.sparse)
