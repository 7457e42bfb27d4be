"""Finds where a network is one tensor wide: all that follows is computed from that tensor."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.graph.matrices import matrix_of
from pocketkube.graph.walk import functional_graph, walk


@dataclass(frozen=True)
class Narrow:
    """A tensor through which everything passes.

    Attributes:
        call: The first call that takes it, by its place in the order of computation.
        position: Its place among that call's input tensors.
        depth: Calls of layers that mix channels before it.
    """

    call: int
    position: int
    depth: int


@dataclass(frozen=True)
class _Call:
    mixes: bool
    takes: tuple[int, ...]
    gives: tuple[int, ...]


def find_narrows(model: keras.Model) -> tuple[Narrow, ...]:
    """The narrow tensors of a model, the first of each depth, in the order of computation.

    In a residual network these are what its blocks give; in a plain one, what each layer gives.
    What an output alone takes is none of them.

    Args:
        model: A functional or sequential model; nested models are opened.
    """
    calls, inputs = _calls(model)
    last_taken = {x: number for number, call in enumerate(calls) for x in call.takes}
    waiting = {x for x in inputs if x in last_taken}
    found: dict[int, Narrow] = {}
    depth = 0
    for number, call in enumerate(calls):
        depth += call.mixes
        waiting = {x for x in waiting | set(call.gives) if last_taken.get(x, -1) > number}
        if len(waiting) == 1 and depth not in found:
            (tensor,) = waiting
            found[depth] = _first_taken(calls, number + 1, tensor, depth)
    return tuple(found[d] for d in sorted(found))


def mixing_calls(model: keras.Model) -> dict[str, int]:
    """For the path of each layer that mixes channels, the place of its last call."""
    places: dict[str, int] = {}
    numbers = itertools.count()

    def visit(path: str, node: Any, taken: list[None]) -> Sequence[None]:
        number = next(numbers)
        if matrix_of(node.operation) is not None:
            places[path] = number
        return [None] * len(node.outputs)

    function = functional_graph(model)
    walk(function, [None] * len(function.inputs), visit)
    return places


def _calls(model: keras.Model) -> tuple[list[_Call], list[int]]:
    """All calls in their order, their tensors numbered, and the numbers of the inputs."""
    calls: list[_Call] = []
    numbers = itertools.count()

    def visit(path: str, node: Any, taken: list[int]) -> Sequence[int]:
        gives = tuple(next(numbers) for _ in node.outputs)
        calls.append(_Call(matrix_of(node.operation) is not None, tuple(taken), gives))
        return gives

    function = functional_graph(model)
    inputs = [next(numbers) for _ in function.inputs]
    walk(function, inputs, visit)
    return calls, inputs


def _first_taken(calls: Sequence[_Call], start: int, tensor: int, depth: int) -> Narrow:
    number = next(i for i in range(start, len(calls)) if tensor in calls[i].takes)
    return Narrow(number, calls[number].takes.index(tensor), depth)
