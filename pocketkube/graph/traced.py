"""Counts what a layer without a rule multiplies, in the TensorFlow graph that its call is traced to."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import keras
import tensorflow as tf

from pocketkube.graph.calls import LayerCall
from pocketkube.graph.operations import macs_of_operation, other_flops_of_operation


@dataclass(frozen=True)
class Count:
    """What a call takes.

    Attributes:
        macs: Multiply-adds that are known.
        other_flops: Float operations that are none.
        uncounted: What is in neither, in words: "the operation PyFunc".
    """

    macs: int
    other_flops: int = 0
    uncounted: tuple[str, ...] = ()

    def times(self, number: int) -> "Count":
        """What `number` such calls take."""
        return Count(number * self.macs, number * self.other_flops, self.uncounted)


NOTHING = Count(0)


def count_traced(call: LayerCall) -> Count:
    """What one call of a layer takes at batch size 1, in inference.

    Args:
        call: The call, of any layer or operation: one of the user's own, a wrapper, a model.

    Returns:
        What its TensorFlow graph takes; a loop counts as often as it runs. What cannot be traced, runs
        an unknown number of times or multiplies in an operation that no rule knows is uncounted.
    """
    # Profiles are made again and again while a model is pruned, of layers that are left as they are.
    known = _KNOWN.setdefault(call.op, {})
    signature = repr((call.shapes, call.outputs, call.arguments))
    if signature not in known:
        known[signature] = _trace(call)
    return known[signature]


_KNOWN: WeakKeyDictionary[Any, dict[str, Count]] = WeakKeyDictionary()


def _trace(call: LayerCall) -> Count:
    tensors = [x for x in keras.tree.flatten((call.args, call.kwargs)) if _is_tensor(x)]
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in tensors]

    def run(*inputs: Any) -> Any:
        real = dict(zip(map(id, tensors), inputs, strict=True))
        args, kwargs = keras.tree.map_structure(
            lambda x: real[id(x)] if _is_tensor(x) else x, (call.args, call.kwargs)
        )
        if isinstance(call.op, keras.layers.Layer):
            kwargs = {**kwargs, "training": False}
        return call.op(*args, **kwargs)

    try:
        # As Keras itself traces a layer that is called in a functional model.
        graph = tf.function(run, autograph=False).get_concrete_function(*specs).graph
    except Exception as error:
        return Count(0, 0, (f"it cannot be traced ({type(error).__name__})",))
    return _sum(map(_count, _leading_to(graph.outputs)))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _leading_to(outputs: Iterable[Any]) -> Iterator[Any]:
    """The operations that tensors are computed from: the others do not run on a phone."""
    seen: set[str] = set()
    waiting = [tensor.op for tensor in outputs]
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            yield op
            waiting += [tensor.op for tensor in op.inputs]


def _sum(counts: Iterable[Count]) -> Count:
    found = list(counts)
    return Count(
        sum(count.macs for count in found),
        sum(count.other_flops for count in found),
        tuple(dict.fromkeys(what for count in found for what in count.uncounted)),
    )


def _count(op: Any) -> Count:
    called = _functions(op)
    if op.type in CALLS:
        return _within(called)
    if op.type in LOOPS:
        return _loop(op)
    if op.type in BRANCHES:
        return _branches([_within([function]) for function in called])
    macs = None if called else macs_of_operation(op)
    if macs is None:
        return Count(0, 0, (f"the operation {op.type}",))
    return Count(macs, other_flops_of_operation(op))


def _functions(op: Any) -> list[Any]:
    """The graphs of the functions that an operation calls."""
    names = [
        function.name
        for attribute in op.node_def.attr.values()
        for function in ([attribute.func] if attribute.HasField("func") else attribute.list.func)
    ]
    return [op.graph._get_function(name).graph for name in names if name]


def _within(graphs: Iterable[Any]) -> Count:
    return _sum(_count(op) for graph in graphs for op in _leading_to(graph.outputs))


def _branches(counts: list[Count]) -> Count:
    """One of several: what the cheapest takes, for that much is certain."""
    least = min(counts, key=lambda count: count.macs)
    uncounted = dict.fromkeys(what for count in counts for what in count.uncounted)
    if any(count.macs != least.macs for count in counts):
        uncounted["which branch runs"] = None
    return Count(least.macs, least.other_flops, tuple(uncounted))


def _loop(op: Any) -> Count:
    condition, body = (
        op.graph._get_function(op.get_attr(name).name).graph for name in ("cond", "body")
    )
    once, times = _within([body]), _trips(op, condition, body)
    if times is not None:
        return once.times(times)
    # What a loop's counter takes is no matter.
    if once.macs == 0 and not once.uncounted:
        return NOTHING
    return Count(0, 0, (*once.uncounted, "a loop that runs an unknown number of times"))


def _trips(op: Any, condition: Any, body: Any) -> int | None:
    """How often a loop runs whose counters go up to numbers that are known."""
    limits = []
    waiting = [condition.outputs[0].op]
    while waiting:
        test = waiting.pop()
        if test.type in ("Identity", "LogicalAnd"):
            waiting += [tensor.op for tensor in test.inputs]
            continue
        if test.type != "Less":
            return None
        counter, limit = (_place(tensor, condition) for tensor in test.inputs)
        last = _number(test.inputs[1] if limit is None else op.inputs[limit])
        if counter is None or last is None or (limit is not None and not _stays(body, limit)):
            return None
        first, step = _number(op.inputs[counter]), _step(body, counter)
        if first is None or not step:
            return None
        limits.append(max(math.ceil((last - first) / step), 0))
    return min(limits)


def _place(tensor: Any, graph: Any) -> int | None:
    """Which input of a graph a tensor is."""
    tensor = _itself(tensor)
    return next((place for place, x in enumerate(graph.inputs) if x is tensor), None)


def _itself(tensor: Any) -> Any:
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return tensor


def _stays(body: Any, place: int) -> bool:
    return _itself(body.outputs[place]) is body.inputs[place]


def _step(body: Any, place: int) -> float | None:
    """How much a loop's counter grows each time."""
    grown = _itself(body.outputs[place]).op
    if grown.type not in ("Add", "AddV2") or _place(grown.inputs[0], body) != place:
        return None
    return _number(grown.inputs[1])


def _number(tensor: Any) -> float | None:
    """The value of a scalar that is known before the graph runs."""
    tensor = _itself(tensor)
    if tensor.op.type in ("Max", "Min"):
        tensor = tensor.op.inputs[0]
    value = tf.get_static_value(tensor)
    return float(value) if value is not None and value.size == 1 else None


CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
LOOPS = {"While", "StatelessWhile"}
BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase"}
