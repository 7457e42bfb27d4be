"""Finds where a network is one tensor wide: all that follows is computed from that tensor."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.graph.matrices import mixes
from pocketkube.graph.walk import functional_graph, walk


@dataclass(frozen=True)
class Bottleneck:
    """A tensor through which everything passes.

    Attributes:
        call: The first call that reads it, by its place in the order of computation.
        position: Its place among that call's input tensors.
        depth: Calls of layers that mix channels before it.
    """

    call: int
    position: int
    depth: int


@dataclass(frozen=True)
class _NumberedCall:
    mixes: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def find_bottlenecks(model: keras.Model) -> tuple[Bottleneck, ...]:
    """The bottlenecks of a model, the first of each depth, in the order of computation.

    In a residual network these are the outputs of its blocks; in a plain one, those of each layer.
    A tensor that only an output of the model reads is none of them.

    Args:
        model: A functional or sequential model; nested models are opened.
    """
    calls, inputs = _calls(model)
    last_read = {x: number for number, call in enumerate(calls) for x in call.inputs}
    waiting = {x for x in inputs if x in last_read}
    found: dict[int, Bottleneck] = {}
    depth = 0
    for number, call in enumerate(calls):
        depth += call.mixes
        waiting = {x for x in waiting | set(call.outputs) if last_read.get(x, -1) > number}
        if len(waiting) == 1 and depth not in found:
            (tensor,) = waiting
            found[depth] = _first_read(calls, number + 1, tensor, depth)
    return tuple(found[d] for d in sorted(found))


def mixing_calls(model: keras.Model) -> dict[str, int]:
    """For the path of each layer that mixes channels, the place of its last call."""
    places: dict[str, int] = {}
    numbers = itertools.count()

    def visit(path: str, node: Any, tensors: list[None]) -> Sequence[None]:
        number = next(numbers)
        if mixes(node.operation):
            places[path] = number
        return [None] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [None] * len(function.inputs), visit)
    return places


def _calls(model: keras.Model) -> tuple[list[_NumberedCall], list[int]]:
    """All calls in their order, their tensors numbered, and the numbers of the inputs."""
    calls: list[_NumberedCall] = []
    numbers = itertools.count()

    def visit(path: str, node: Any, tensors: list[int]) -> Sequence[int]:
        outputs = tuple(next(numbers) for _ in node.outputs)
        calls.append(_NumberedCall(mixes(node.operation), tuple(tensors), outputs))
        return outputs

    function = functional_graph(model)
    inputs = [next(numbers) for _ in function.inputs]
    walk(function, inputs, visit)
    return calls, inputs


def _first_read(calls: Sequence[_NumberedCall], start: int, tensor: int, depth: int) -> Bottleneck:
    number = next(i for i in range(start, len(calls)) if tensor in calls[i].inputs)
    return Bottleneck(number, calls[number].inputs.index(tensor), depth)
