"""Attention masks in the ranges of 8 bits.

A mask gives what may not be looked at -1e9, or the lowest float, before a softmax. Ranges that are
looked up in examples then span all of that, and 8 bits tell none of the other scores apart. A softmax
knows only differences, so that far less than 1e9 below the lowest score does the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from pocketkube.litert.flatbuffer import code_of, data_of, is_constant, read_model, write_model

# Scores of attention are far smaller; masks are larger, down to the -1e4 of BERT.
_NO_SCORE = 1e3
# exp(-12) is less than half a step of 8 bits even for 300 positions together.
MARGIN = 12.0
_Operator = schema.BuiltinOperator
_SELECTIONS = (_Operator.SELECT, _Operator.SELECT_V2)
_SUMS = {_Operator.ADD: 1.0, _Operator.SUB: -1.0}
_SHAPES = (
    _Operator.RESHAPE,
    _Operator.TRANSPOSE,
    _Operator.EXPAND_DIMS,
    _Operator.SQUEEZE,
    _Operator.BROADCAST_TO,
    _Operator.TILE,
)
Range = tuple[float, float]


def with_bounded_masks(calibrated: bytes) -> bytes:
    """Lets masks reach no further below the scores of attention than a softmax can tell.

    Args:
        calibrated: A LiteRT file in floats, with the ranges that its tensors have had.

    Returns:
        The same where nothing is masked.
    """
    model = read_model(calibrated)
    graphs = [_Graph(model, graph) for graph in model.subgraphs]
    bounded = [graph.bound(scores) for graph in graphs for scores in graph.read_by_softmax()]
    return write_model(model, len(calibrated)) if any(bounded) else calibrated


class _Graph:
    """A subgraph that is changed in place."""

    def __init__(self, model: Any, graph: Any):
        self._model, self._tensors, self._operators = model, graph.tensors, graph.operators
        self._made_by = {int(number): one for one in graph.operators for number in one.outputs}
        # What was there before anything changed: several attentions may share a mask.
        self._ranges = [self._given_range(number) for number in range(len(graph.tensors))]
        self._put: dict[int, Range] = {}
        self._clipped: dict[tuple[int, int], tuple[int, float]] = {}

    def read_by_softmax(self) -> list[int]:
        """The tensors that softmaxes read."""
        return [int(one.inputs[0]) for one in self._operators if self._code(one) == _Operator.SOFTMAX]

    def bound(self, scores: int) -> bool:
        """Bounds what masks make of scores; False where there is no mask, or one of no known kind."""
        if scores in self._put:
            return True
        operator = self._made_by.get(scores)
        if operator is None:
            return False
        code = self._code(operator)
        if code in _SHAPES:
            before = int(operator.inputs[0])
            found = self.bound(before)
            if found:
                self._put_range(scores, self._put[before])
            return found
        if code not in _SELECTIONS and code not in _SUMS:
            return False
        first = 1 if code in _SELECTIONS else 0
        for mask, other in ((first + 1, first), (first, first + 1)):
            sign = _SUMS[code] if code in _SUMS and mask else 1.0
            reached, plain = (self._ranges[int(operator.inputs[place])] for place in (mask, other))
            if plain and reached and _is_mask(reached, sign):
                before = int(operator.inputs[other])
                if not _is_mask(plain, 1.0):
                    return self._bound_mask(operator, mask, sign, plain)
                # Scores that are masked twice.
                if code in _SUMS and self.bound(before):
                    return self._bound_mask(operator, mask, sign, self._put[before])
        return False

    def _bound_mask(self, operator: Any, mask: int, sign: float, plain: Range) -> bool:
        """Bounds a mask that an operator adds to, subtracts from, or puts in the place of scores.

        Args:
            operator: The operator.
            mask: The mask's place among its inputs.
            sign: -1 where it is subtracted.
            plain: The range of the scores that are not masked.
        """
        low, high = plain
        if self._code(operator) in _SUMS:
            found = self._bound_term(operator, mask, sign * (low - MARGIN - high))
        elif self._values(int(operator.inputs[mask])) is not None:
            self._clip(operator, mask, MARGIN - low)
            found = True
        else:
            found = self.bound(int(operator.inputs[mask]))
        if found:
            self._put_range(int(operator.outputs[0]), (low - MARGIN, high))
        return found

    def _bound_term(self, operator: Any, place: int, reach: float) -> bool:
        """Has a mask that is added, or subtracted, reach so far; False where it is not known how."""
        tensor = int(operator.inputs[place])
        if self._values(tensor) is not None:
            self._clip(operator, place, abs(reach))
            return True
        before = self._made_by.get(tensor)
        if before is None:
            return False
        if self._code(before) in _SHAPES:
            known = self._bound_term(before, 0, reach)
        elif self._code(before) in _SELECTIONS:
            constants = [
                place for place in (1, 2) if self._values(int(before.inputs[place])) is not None
            ]
            for constant in constants:
                self._clip(before, constant, abs(reach))
            known = len(constants) == 2
        else:
            known = self._code(before) == _Operator.MUL and self._bound_product(before, reach)
        if known:
            self._put_range(tensor, (min(reach, 0.0), max(reach, 0.0)))
        return known

    def _bound_product(self, product: Any, reach: float) -> bool:
        """Of what is 1, or -1, where nothing is looked at, and 0 elsewhere, with a constant."""
        for constant, other in ((0, 1), (1, 0)):
            values = self._values(int(product.inputs[constant]))
            if values is None:
                continue
            known = self._ranges[int(product.inputs[other])]
            if known is not None and -1 <= known[0] <= known[1] <= 1:
                self._clip(product, constant, abs(reach))
                return True
        return False

    def _clip(self, operator: Any, place: int, reach: float) -> None:
        """Gives an operator the constant that it has, at most so far from 0: others may read it."""
        key = id(operator), place
        number, before = self._clipped.get(key, (int(operator.inputs[place]), 0.0))
        reach = max(reach, before)
        self._clipped[key] = number, reach
        values, given = self._values(number), self._tensors[number]
        assert values is not None
        buffer, own = schema.BufferT(), schema.TensorT()
        clipped = np.clip(values, -reach, reach).astype(np.float32)
        buffer.data = np.frombuffer(clipped.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        vars(own).update(vars(given))
        own.buffer, own.quantization = len(self._model.buffers) - 1, None
        own.name = given.name + b"/bounded"
        self._tensors.append(own)
        operator.inputs[place] = len(self._tensors) - 1

    def _put_range(self, tensor: int, found: Range) -> None:
        low, high = self._put.get(tensor, found)
        self._put[tensor] = low, high = min(low, found[0]), max(high, found[1])
        known = self._tensors[tensor].quantization
        known.min, known.max = [low], [high]

    def _code(self, operator: Any) -> int:
        return code_of(self._model, operator)

    def _given_range(self, tensor: int) -> Range | None:
        values = self._values(tensor)
        if values is not None:
            return float(values.min()), float(values.max())
        known = self._tensors[tensor].quantization
        if known is None or known.min is None or not len(known.min):
            return None
        return float(known.min[0]), float(known.max[0])

    def _values(self, tensor: int) -> np.ndarray | None:
        entry = self._tensors[tensor]
        if not is_constant(self._model, entry) or entry.type != schema.TensorType.FLOAT32:
            return None
        return data_of(self._model, entry).view(np.float32).reshape(_shape(entry.shape))


def _shape(shape: Sequence[int] | None) -> tuple[int, ...]:
    return () if shape is None else tuple(int(size) for size in shape)


def _is_mask(found: Range, sign: float) -> bool:
    low, high = found
    return high > _NO_SCORE if sign < 0 else low < -_NO_SCORE
