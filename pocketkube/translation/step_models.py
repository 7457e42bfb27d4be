"""Computes a model of translation in two parts: its encoder, and one step of its decoder with a cache.

The whole model computes all positions of a translation at once, from the tokens before each. A step
computes one, and keeps the keys and values of those before, so that nothing is computed twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from pocketkube.errors import UserError, first_line
from pocketkube.graph.attention_inputs import attention_inputs
from pocketkube.graph.kinds import is_one_of, name_of
from pocketkube.graph.walk import filled_in, functional_graph, walk
from pocketkube.keras_private import attention_projection
from pocketkube.plain_errors import is_out_of_memory
from pocketkube.structure import arranged
from pocketkube.translation.names import LOGITS, POSITION, SOURCE, TOKEN

# How far a step's logits may be from the whole model's, of the largest.
_TOLERANCE = 1e-3
_TRIED = 4


@dataclass(frozen=True)
class Spec:
    """A tensor that goes into a part.

    Attributes:
        shape: For one sentence, without the batch axis.
        dtype: Its numbers' type.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class StepModels:
    """The two parts of a model of translation. They compute with its own layers.

    Attributes:
        model: The model.
        known: What the encoder gives and each step takes, by its name.
        cache: What a step takes and gives for the next one; it begins as zeros.
    """

    model: keras.Model
    known: Mapping[str, Spec] = field(default_factory=dict)
    cache: Mapping[str, Spec] = field(default_factory=dict)

    @property
    def source_length(self) -> int:
        """How many tokens are read."""
        return int(self.model.inputs[0].shape[1])

    @property
    def length(self) -> int:
        """How many tokens can be written."""
        return int(self.model.inputs[1].shape[1])

    def encode(self, source: Any) -> dict[str, Any]:
        """What each step needs to know of sentences `[n, source]`."""
        run = _Run(self.length)
        run.walk(self.model, source, None)
        return run.encoded

    def step(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Computes one position.

        Args:
            given: The last token and its position, `[n, 1]` each, what `encode` gives, and the cache.

        Returns:
            Logits `[n, vocabulary]` of the next token, and the cache for the next position.
        """
        run = _Run(self.length, given)
        logits = run.walk(self.model, None, given[TOKEN])
        return {LOGITS: ops.squeeze(logits, 1), **run.cache}


def step_models(model: keras.Model) -> StepModels:
    """Splits a model.

    Args:
        model: A functional model of source tokens `[B, source]` and of the tokens before each position
            `[B, target]` to logits `[B, target, vocabulary]`, whose decoder looks at other positions by
            causal `MultiHeadAttention` alone, and counts them by `ops.cumsum` or adds a weight or
            constant of each.

    Raises:
        UserError: If it is none.
    """
    if len(model.inputs) != 2 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 3:
        raise UserError(
            f"{model.name}: is no model of translation, which has two inputs, source and target "
            "tokens, and logits for each target token as its one output."
        )
    parts = StepModels(model)
    rng, vocabulary = np.random.default_rng(0), model.outputs[0].shape[-1]
    read = rng.integers(1, vocabulary, (1, parts.source_length)).astype("int32")
    read[:, parts.source_length // 2 :] = 0
    written = rng.integers(1, vocabulary, (1, parts.length)).astype("int32")
    whole = np.asarray(model(arranged(model, [read, written]), training=False))[0]
    try:
        known, cache = _tried(parts, read, written, whole)
    except UserError:
        raise
    except Exception as error:
        # Layers may be the user's own code, which raises anything where there is one position alone.
        if is_out_of_memory(error):
            raise
        raise UserError(
            f"{model.name}: cannot be computed one position at a time ({first_line(error)}), so that "
            "it cannot translate step by step."
        ) from error
    return StepModels(model, _specs(known), _specs(cache))


def _tried(
    parts: StepModels, read: np.ndarray, written: np.ndarray, whole: np.ndarray
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the encoder gives, and the cache, after steps that give what the whole model gives."""
    known = parts.encode(ops.convert_to_tensor(read))
    cache: dict[str, Any] = {}
    for position in range(min(_TRIED, parts.length)):
        token = ops.convert_to_tensor(written[:, position : position + 1])
        at = {TOKEN: token, POSITION: ops.full((1, 1), position, "int32")}
        cache = parts.step({**at, **known, **cache})
        off = np.abs(np.asarray(cache.pop(LOGITS))[0] - whole[position]).max()
        if not off <= _TOLERANCE * max(1.0, float(np.abs(whole).max())):
            raise UserError(
                f"{parts.model.name}: its positions depend on each other by more than causal "
                "attention, so that it cannot translate step by step."
            )
    return known, cache


def inputs_of(parts: StepModels) -> tuple[dict[str, Spec], dict[str, Spec]]:
    """What the encoder and a step take, by name."""
    one = Spec((1,), "int32")
    return (
        {SOURCE: Spec((parts.source_length,), "int32")},
        {TOKEN: one, POSITION: one, **parts.known, **parts.cache},
    )


def _specs(tensors: Mapping[str, Any]) -> dict[str, Spec]:
    return {
        name: Spec(tuple(x.shape[1:]), keras.backend.standardize_dtype(x.dtype))
        for name, x in tensors.items()
    }


@dataclass(frozen=True)
class _Value:
    """A tensor of the model.

    Attributes:
        of_step: Whether it depends on what has been written.
        tensor: What it is; None in the other part than its own.
    """

    of_step: bool
    tensor: Any = None


class _Run:
    """Computes one part, call by call.

    Args:
        length: How many positions can be written.
        given: What a step takes; None for the encoder.

    Attributes:
        encoded: What the encoder gives, by its name.
        cache: What the step gives.
    """

    def __init__(self, length: int, given: Mapping[str, Any] | None = None) -> None:
        self._length, self._given = length, given
        self._names: dict[Any, str] = {}
        self.encoded: dict[str, Any] = {}
        self.cache: dict[str, Any] = {}

    def walk(self, model: keras.Model, source: Any, token: Any) -> Any:
        """The model's output where this is the step."""
        (out,) = walk(
            functional_graph(model), [_Value(False, source), _Value(True, token)], self._visit
        )
        if not out.of_step:
            raise UserError(f"{model.name}: what it writes does not depend on what it has written.")
        return out.tensor

    def _visit(self, path: str, node: Any, values: list[_Value]) -> Sequence[_Value]:
        of_step, op = any(value.of_step for value in values), node.operation
        if of_step and is_one_of(op, keras.layers.MultiHeadAttention):
            return [_Value(True, self._attention(path, node, values))]
        if of_step and name_of(op) == "Cumsum":
            return [_Value(True, None if self._given is None else self._given[POSITION] + 1)]
        tensors = [
            self._handed_on(path, id(tensor), value) if of_step and not value.of_step else value.tensor
            for tensor, value in zip(node.input_tensors, values, strict=True)
        ]
        if of_step is (self._given is None):
            return [_Value(of_step)] * len(node.outputs)
        args, kwargs = filled_in(node, tensors)
        made = keras.tree.flatten(op(*args, **kwargs))
        return [
            _Value(of_step, self._here(x, of.shape) if of_step else x)
            for x, of in zip(made, node.outputs, strict=True)
        ]

    def _here(self, x: Any, whole: Sequence[int | None]) -> Any:
        """This position of what was computed for all of them, of a weight or constant of each.

        Args:
            x: What a call gave in this step.
            whole: Its shape in the whole model. Of one position alone something is shorter.
        """
        is_whole = tuple(x.shape[1:]) == tuple(whole[1:])
        if self._given is None or not is_whole or len(whole) < 2 or whole[1] != self._length:
            return x
        at = self._given[POSITION]
        return ops.take_along_axis(x, ops.reshape(at, (-1, *[1] * (len(x.shape) - 1))), axis=1)

    def _handed_on(
        self, name: str, key: Any, value: _Value, of: Callable[[Any], Any] = lambda x: x
    ) -> Any:
        """What the encoder gives and a step takes, under one name however many calls read it.

        Args:
            name: Its name where it has none yet.
            key: What tells it from others.
            value: The tensor of the model that it is computed of.
            of: Computes it.
        """
        name = self._names.setdefault(key, name.replace("/", "_"))
        if self._given is not None:
            return self._given[name]
        if name not in self.encoded:
            self.encoded[name] = of(value.tensor)
        return None

    def _attention(self, path: str, node: Any, values: list[_Value]) -> Any:
        """Attention to what has been written so far, or to what the encoder has read."""
        op, places = node.operation, attention_inputs(node.arguments)
        at = {name: places.pop(name) for name in ("query", "value", "key")}
        query, value, key = (values[place] for place in at.values())
        if not query.of_step or key.of_step != value.of_step or len(node.outputs[0].shape) != 3:
            raise _unknown(path, "attends from what is read to what is written")
        if value.of_step and (places or not node.arguments.kwargs.get("use_causal_mask")):
            raise _unknown(path, "does not look back alone, as use_causal_mask=True makes it")
        # Each layer has keys and values of its own, even of the same tensor.
        keys, found = (
            None
            if value.of_step
            else self._handed_on(
                f"{path}_{name}", (path, name), values[at[name]], attention_projection(op, name)
            )
            for name in ("key", "value")
        )
        masks = [
            values[place].tensor
            if values[place].of_step
            else self._handed_on(f"{path}_mask", id(node.input_tensors[place]), values[place])
            for place in places.values()
        ]
        if self._given is None:
            return None
        if value.of_step:
            keys = self._remembered(f"{path}_key", attention_projection(op, "key")(key.tensor))
            found = self._remembered(f"{path}_value", attention_projection(op, "value")(value.tensor))
            masks = [ops.less_equal(self._places(), self._given[POSITION])[:, None]]
        asked = attention_projection(op, "query")(query.tensor)
        (mask,) = masks or [None]
        mask = mask[:, None] if mask is not None and len(mask.shape) == 3 else mask
        y = ops.dot_product_attention(asked, keys, found, mask=mask)
        if op.get_config()["use_gate"]:
            y = y * attention_projection(op, "gate")(query.tensor)
        return attention_projection(op, "output")(y)

    def _remembered(self, name: str, now: Any) -> Any:
        """Keys or values `[n, length, heads, width]` of all positions up to this one."""
        assert self._given is not None
        name = name.replace("/", "_")
        before = self._given.get(name)
        if before is None:
            before = ops.zeros((now.shape[0], self._length, *now.shape[2:]), now.dtype)
        here = ops.equal(self._places(), self._given[POSITION])[:, :, None, None]
        self.cache[name] = ops.where(here, now, before)
        return self.cache[name]

    def _places(self) -> Any:
        return np.arange(self._length, dtype="int32")[None]


def _unknown(path: str, why: str) -> UserError:
    return UserError(f"{path} {why}: such a model cannot translate step by step.")
