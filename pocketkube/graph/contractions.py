"""Which axes an operation multiplies and adds up: einsums, products of matrices, attention by hand."""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.graph.layer_rules import known_as
from pocketkube.keras_private import is_operation
from pocketkube.shapes import Shape

layers = keras.layers


@dataclass(frozen=True)
class Contraction:
    """A sum of products, as einsum writes it: a letter for each axis.

    Attributes:
        terms: Of each input tensor; empty for one that has no part in it.
        kernel: Of the layer's kernel; empty without one.
        out: Of what it gives.
    """

    terms: tuple[str, ...]
    kernel: str
    out: str


def contractions_of(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    """The sums of products that a call computes, one after the other.

    Args:
        op: The layer or operation.
        shapes: Shapes of its input tensors.

    Returns:
        Empty where it is of a kind, or is written in a way, that is not known here.
    """
    rule = OPERATIONS.get(type(op).__name__) if is_operation(op) else LAYERS.get(known_as(op))
    return rule(op, shapes) if rule else ()


def _einsum_dense(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    terms, out = op.equation.replace(" ", "").split("->")
    term, kernel = terms.split(",")
    free = [letter for letter in string.ascii_letters if letter not in op.equation]
    elided = "".join(free[: len(shapes[0]) - len(term.replace("...", ""))])
    return (Contraction((term.replace("...", elided),), kernel, out.replace("...", elided)),)


def _einsum(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    subscripts = op.subscripts.replace(" ", "")
    if "." in subscripts or "->" not in subscripts:
        return ()
    before, out = subscripts.split("->")
    terms = before.split(",")
    fits = [len(term) for term in terms] == [len(shape) for shape in shapes]
    return (Contraction(tuple(terms), "", out),) if fits else ()


def _matmul(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    if len(shapes) != 2 or min(map(len, shapes)) < 2:
        return ()
    # Letters for what both have in common, counted from the end; what is one for all has its own.
    batch = string.ascii_letters[: max(map(len, shapes)) - 2]
    one, other = (batch[len(batch) - (len(shape) - 2) :] for shape in shapes)
    longer = one if len(one) >= len(other) else other
    for back in range(1, min(len(one), len(other)) + 1):
        if shapes[0][-2 - back] != shapes[1][-2 - back]:
            return ()
    return (Contraction((one + "XK", other + "KY"), "", longer + "XY"),)


def _dot(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    axes = (op.axes, op.axes) if isinstance(op.axes, int) else tuple(op.axes)
    if len(shapes) != 2 or not all(isinstance(axis, int) for axis in axes):
        return ()
    places = [axis % len(shape) for axis, shape in zip(axes, shapes, strict=True)]
    terms = ["a" + letters[: len(s) - 1] for s, letters in zip(shapes, ("bcde", "ghij"), strict=True)]
    terms = [t[:place] + "K" + t[place + 1 :] for t, place in zip(terms, places, strict=True)]
    out = (terms[0] + terms[1][1:]).replace("K", "")
    # Two vectors give a number for each example, with an axis of its own.
    return (Contraction(tuple(terms), "", out),) if len(out) > 1 else ()


def _attention(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    if op.score_mode == "concat":
        return _additive_attention(op, shapes)
    key = 2 if len(shapes) > 2 else 1
    scores = ["abk", *[""] * (len(shapes) - 1)]
    scores[key] = "ack"
    return (Contraction(tuple(scores), "", "abc"), *_additive_attention(op, shapes))


def _additive_attention(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    rest = [""] * (len(shapes) - 2)
    return (Contraction(("", "acv", *rest), "", "abv"),)


def _heads_attention(op: Any, shapes: Sequence[Shape]) -> tuple[Contraction, ...]:
    rest = [""] * (len(shapes) - 3)
    return (
        Contraction(("abhk", "achk", "", *rest), "", "ahbc"),
        Contraction(("", "", "achv", *rest), "", "abhv"),
    )


Rule = Callable[[Any, Sequence[Shape]], tuple[Contraction, ...]]
LAYERS: dict[type, Rule] = {
    layers.EinsumDense: _einsum_dense,
    layers.Dot: _dot,
    layers.Attention: _attention,
    layers.AdditiveAttention: _additive_attention,
}
OPERATIONS: dict[str, Rule] = {
    "Einsum": _einsum,
    "Matmul": _matmul,
    "DotProductAttention": _heads_attention,
}
