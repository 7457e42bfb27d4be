"""Which call makes and which calls read each tensor of a model that is to be quantised."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pocketkube.graph.rebuild import static_calls
from pocketkube.graph.sharing import layers_inside, tied_operations
from pocketkube.graph.walk import entering_values, functional_graph, is_model, own_nodes


@dataclass
class CallOfTensors:
    """A call of an operation, its tensors by their numbers.

    Attributes:
        op: The operation or layer.
        inputs: Numbers of the tensors that it takes.
        outputs: Numbers of the tensors that it returns.
        rank: How many axes its first output has, the batch axis included.
    """

    op: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    rank: int


class TensorUses:
    """Which call produces and which calls read each tensor of a model.

    A nested model that is called once is looked through. One that is shared has ends of its own: what
    comes before and after differs from call to call.

    Attributes:
        ops: All that is called, by its path.
        tied: Ids of what shares variables with something else, and has to stay as it is.
        held: Paths of nested models that other layers hold, too, and that have to stay as they are.
        has_several_outputs: Whether the model has.
    """

    def __init__(self, function: Any) -> None:
        calls = list(static_calls(function))
        self.ops = {path: node.operation for path, node in calls}
        self.tied = tied_operations(calls)
        inside = {id(x) for op in self.ops.values() for x in layers_inside(op)}
        self.held = {p for p, op in self.ops.items() if is_model(op) and id(op) in inside}
        self._times = Counter(id(node.operation) for _, node in calls)
        self._count = 0
        self._calls: dict[int, CallOfTensors] = {}
        self._shared: set[int] = set()
        self._ends: set[int] = set()
        self._ends |= set(self._number(function, self._new(function.inputs)))
        self.has_several_outputs = len(function.outputs) > 1
        self._maker = {number: call for call in self._calls.values() for number in call.outputs}
        self._readers: dict[int, list[CallOfTensors]] = {}
        for call in self._calls.values():
            for number in call.inputs:
                self._readers.setdefault(number, []).append(call)

    def call(self, node: Any) -> CallOfTensors:
        """The call that a node is."""
        return self._calls[id(node)]

    def maker(self, number: int) -> CallOfTensors | None:
        """The call that returns a tensor; None for an input of the model."""
        return self._maker.get(number)

    def reader(self, call: CallOfTensors) -> CallOfTensors | None:
        """The only reader of the only output; None if there are several, or the model returns it."""
        readers = self.readers(call)
        return readers[0] if len(readers) == 1 else None

    def readers(self, call: CallOfTensors) -> list[CallOfTensors]:
        """All that read the only output; none if there are several, or the model returns it."""
        return self.readers_of(call.outputs[0]) if len(call.outputs) == 1 else []

    def readers_of(self, number: int) -> list[CallOfTensors]:
        """All that read a tensor; none if the model returns it."""
        return self._readers.get(number, []) if number not in self._ends else []

    def gives_output(self, call: CallOfTensors) -> bool:
        """Whether an output of a call is one that the model, or a shared one in it, returns."""
        return any(number in self._ends for number in call.outputs)

    def is_used(self, number: int) -> bool:
        """Whether a tensor is read, or returned by the model or a shared one in it."""
        return number in self._ends or number in self._readers

    def is_shared(self, op: Any) -> bool:
        """Whether a layer is called more than once."""
        return self._times[id(op)] > 1

    def _number(self, function: Any, inputs: list[int]) -> list[int]:
        numbers = dict(zip(map(id, function.inputs), inputs, strict=True))
        for node in own_nodes(function):
            inputs = [numbers[id(x)] for x in node.input_tensors]
            if is_model(node.operation):
                outputs = self._number_model(node, inputs)
            else:
                outputs = self._new(node.outputs)
                rank = len(node.outputs[0].shape)
                self._calls[id(node)] = CallOfTensors(
                    node.operation, tuple(inputs), tuple(outputs), rank
                )
            numbers |= zip(map(id, node.outputs), outputs, strict=True)
        return [numbers[id(x)] for x in function.outputs]

    def _number_model(self, node: Any, inputs: list[int]) -> list[int]:
        function = functional_graph(node.operation)
        if not self.is_shared(node.operation):
            return self._number(function, list(entering_values(function, inputs)))
        self._ends |= set(inputs)
        if id(function) not in self._shared:
            self._shared.add(id(function))
            self._ends |= set(self._number(function, self._new(function.inputs)))
        return self._new(node.outputs)

    def _new(self, tensors: Sequence[Any]) -> list[int]:
        self._count += len(tensors)
        return list(range(self._count - len(tensors), self._count))
