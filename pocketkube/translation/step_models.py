"""Splits a model of translation into its encoder and one step of its decoder, with a cache.

The whole model computes all positions of a translation at once, from the tokens before each. A step
computes one, and keeps the keys and values of those before, so that nothing is computed twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from pocketkube.errors import UserError
from pocketkube.graph.attention_inputs import attention_inputs
from pocketkube.graph.kinds import is_one_of
from pocketkube.graph.walk import filled_in, functional_graph, walk
from pocketkube.keras_private import attention_projection, computed_spec
from pocketkube.structure import arranged

TOKEN, POSITION, LOGITS, SOURCE = "token", "position", "logits", "source"
# How far a step's logits may be from the whole model's, of the largest.
_TOLERANCE = 1e-3
_TRIED = 4


@dataclass(frozen=True)
class StepModels:
    """The two parts of a model of translation, which share its layers and so its weights.

    Attributes:
        encoder: From {"source": `[B, source]`} to what each step needs to know of it, by name.
        step: From {"token": `[B, 1]`, "position": `[B, 1]`}, what the encoder gives and the cache, to
            {"logits": `[B, vocabulary]`} and the cache for the next position.
        cache: The shape of each part of the cache for one sentence, by its name; it begins as zeros.
        length: How many positions it has.
    """

    encoder: keras.Model
    step: keras.Model
    cache: Mapping[str, tuple[int, ...]]
    length: int


def step_models(model: keras.Model) -> StepModels:
    """Splits a model.

    Args:
        model: A functional model of source tokens `[B, source]` and of the tokens before each position
            `[B, target]` to logits `[B, target, vocabulary]`, whose decoder looks at other positions by
            causal `MultiHeadAttention` alone, and counts them by `ops.cumsum`.

    Raises:
        UserError: If it is none.
    """
    function = functional_graph(model)
    if len(model.inputs) != 2 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 3:
        raise UserError(
            f"{model.name}: is no model of translation, which has two inputs, source and target "
            "tokens, and logits for each target token as its one output."
        )
    source, target = model.inputs
    inputs = {name: keras.Input((1,), dtype=target.dtype, name=name) for name in (TOKEN, POSITION)}
    read = keras.Input(source.shape[1:], dtype=source.dtype, name=SOURCE)
    parts = _Parts(inputs[POSITION], int(target.shape[1]))
    (written,) = walk(function, [_Value(read, False), _Value(inputs[TOKEN], True)], parts.visit)
    if not written.of_step:
        raise UserError(f"{model.name}: what it writes does not depend on what it has written.")
    encoder = keras.Model({SOURCE: read}, parts.encoded, name="encoder")
    step = keras.Model(
        {**inputs, **parts.known, **parts.before},
        {LOGITS: ops.squeeze(written.tensor, 1), **parts.after},
        name="step",
    )
    cache = {name: tuple(x.shape[1:]) for name, x in parts.before.items()}
    found = StepModels(encoder, step, cache, int(target.shape[1]))
    _refuse_other_logits(model, found)
    return found


@dataclass(frozen=True)
class _Value:
    """A tensor in one of the parts.

    Attributes:
        tensor: The tensor.
        of_step: Whether it is the step's, for it depends on what has been written.
    """

    tensor: Any
    of_step: bool


@dataclass
class _Parts:
    """Computes each call of the model in the part that it belongs to.

    Attributes:
        position: Of the step.
        length: How many positions there are.
        encoded: What the encoder gives, by its name.
        known: The same as what the step takes.
        before: The cache as the step takes it.
        after: The cache as it gives it.
    """

    position: Any
    length: int
    encoded: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def visit(self, path: str, node: Any, values: list[_Value]) -> list[_Value]:
        """One call."""
        op = node.operation
        of_step = any(value.of_step for value in values)
        if of_step and is_one_of(op, keras.layers.MultiHeadAttention):
            return [_Value(self._attention(path, node, values), True)]
        if of_step and type(op).__name__ == "Cumsum":
            return [_Value(self.position + 1, True)]
        tensors = [self._given(path, value) if of_step else value.tensor for value in values]
        args, kwargs = filled_in(node, tensors)
        return [_Value(x, of_step) for x in keras.tree.flatten(op(*args, **kwargs))]

    def _given(self, path: str, value: _Value) -> Any:
        """A tensor as a step has it; the encoder's become inputs of it."""
        return value.tensor if value.of_step else self._handed_on(path, value.tensor)

    def _handed_on(self, name: str, tensor: Any) -> Any:
        for known, encoded in self.encoded.items():
            if encoded is tensor:
                return self.known[known]
        name = name.replace("/", "_")
        self.encoded[name] = tensor
        self.known[name] = keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name)
        return self.known[name]

    def _attention(self, path: str, node: Any, values: list[_Value]) -> Any:
        """Attention to what has been written so far, or to what the encoder has read."""
        op, places = node.operation, attention_inputs(node.arguments)
        query, value, key = (values[places.pop(name)] for name in ("query", "value", "key"))
        if not query.of_step or key.of_step != value.of_step or len(query.tensor.shape) != 3:
            raise _unknown(path, "attends from what is read to what is written")

        def project(name: str, x: Any) -> Any:
            return _Named(attention_projection(op, name), f"{path}_{name}_projection")(x)

        keys, found = project("key", key.tensor), project("value", value.tensor)
        if value.of_step:
            if places or not node.arguments.kwargs.get("use_causal_mask"):
                raise _unknown(path, "does not look back alone, as use_causal_mask=True makes it")
            keys = self._remembered(f"{path}_key", keys)
            found = self._remembered(f"{path}_value", found)
            mask = ops.less_equal(self._places(), self.position)[:, None, None]
        else:
            keys = self._handed_on(f"{path}_key", keys)
            found = self._handed_on(f"{path}_value", found)
            mask = None
            for place in places.values():
                given = self._given(f"{path}_mask", values[place])
                mask = given[:, None] if len(given.shape) == 3 else given
        y = ops.dot_product_attention(project("query", query.tensor), keys, found, mask=mask)
        if op.get_config()["use_gate"]:
            y = y * project("gate", query.tensor)
        return project("output", y)

    def _remembered(self, name: str, now: Any) -> Any:
        """Keys or values `[B, length, heads, width]` of all positions up to this one."""
        name = name.replace("/", "_")
        shape = (self.length, *now.shape[2:])
        self.before[name] = keras.Input(shape, dtype=now.dtype, name=name)
        here = ops.equal(self._places(), self.position)[:, :, None, None]
        self.after[name] = ops.where(here, now, self.before[name])
        return self.after[name]

    def _places(self) -> Any:
        return np.arange(self.length, dtype="int32")[None]


class _Named(keras.layers.Layer):
    """A layer under another name: those within attention layers are all called alike."""

    def __init__(self, layer: Any, name: str) -> None:
        super().__init__(name=name.replace("/", "_"))
        self.layer, self.built = layer, True

    def call(self, x: Any) -> Any:
        """What the layer gives."""
        return self.layer(x)

    def compute_output_spec(self, x: Any) -> Any:
        """What it gives for as many positions as there are: the layer was built for all."""
        return computed_spec(self.layer.call, x)


def _unknown(path: str, why: str) -> UserError:
    return UserError(f"{path} {why}: such a model cannot translate step by step.")


def _refuse_other_logits(model: keras.Model, parts: StepModels) -> None:
    """Says when steps do not give what the model gives, as of one that mixes positions otherwise."""
    rng, (source, target) = np.random.default_rng(0), model.inputs
    vocabulary = model.outputs[0].shape[-1]
    read = rng.integers(1, vocabulary, (1, source.shape[1])).astype("int32")
    read[:, source.shape[1] // 2 :] = 0
    written = rng.integers(1, vocabulary, (1, target.shape[1])).astype("int32")
    whole = np.asarray(model(arranged(model, [read, written]), training=False))[0]
    known = parts.encoder({SOURCE: ops.convert_to_tensor(read)}, training=False)
    cache = {name: ops.zeros((1, *shape)) for name, shape in parts.cache.items()}
    for position in range(min(_TRIED, parts.length)):
        token = ops.convert_to_tensor(written[:, position : position + 1])
        at = {TOKEN: token, POSITION: ops.full((1, 1), position, "int32")}
        cache = dict(parts.step({**at, **known, **cache}, training=False))
        off = np.abs(np.asarray(cache.pop(LOGITS))[0] - whole[position]).max()
        if not off <= _TOLERANCE * max(1.0, float(np.abs(whole).max())):
            raise UserError(
                f"{model.name}: its positions depend on each other by more than causal attention, so "
                "that it cannot translate step by step."
            )
