"""Auxiliary classifiers after some of a network's blocks: what a layer's channels tell of labels.

They stand beside the network: it is replayed with a look at its blocks, and never holds them.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.console.progress import progress
from pocketkube.graph.bottleneck import Bottleneck, find_bottlenecks
from pocketkube.graph.replay import AllSeenError, replay
from pocketkube.graph.walk import functional_graph, is_model
from pocketkube.keras_private import calls_of, origin, outputs_structure
from pocketkube.pruning.batch_statistics import recalibrate
from pocketkube.pruning.calibration import Calibration
from pocketkube.traceable import refuse_untraceable

HEADS = 3
HEAD_PASSES = 6
JOINT_PASSES = 2
HEAD_RATE = 1e-2
NETWORK_RATE = 1e-4


@dataclass(frozen=True)
class Branch:
    """From a head's features to one of the model's outputs.

    Attributes:
        dense: Gives the output's values.
        shape: Of one example's output.
        by_position: Whether each position of the features answers for itself.
        finish: What ends the model's own output: a softmax, or nothing.
    """

    dense: keras.layers.Dense
    shape: tuple[int, ...]
    by_position: bool
    finish: tuple[Callable[[Any], Any], ...]

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """The output, `[batch, …]`, from the features, `[batch, …, channels]`."""
        if not self.by_position:
            x = tf.reduce_mean(x, axis=tuple(range(1, len(x.shape) - 1)))
        y = self.dense(x)
        if self.by_position:
            for axis, size in enumerate(self.shape[:-1], start=1):
                y = tf.gather(y, np.arange(size) * y.shape[axis] // size, axis=axis)
        y = tf.reshape(y, (-1, *self.shape))
        for step in self.finish:
            y = step(y)
        return y


@dataclass(frozen=True)
class AuxiliaryHead:
    """BatchNorm, ReLU, global average pooling and Dense, as in the paper; a Dense for each output.

    Where an output has positions as the features do (it is a map, or a sequence), each position is
    classified for itself instead of pooled.

    Attributes:
        at: The tensor that it looks at.
        norm: Its BatchNorm.
        branches: One for each of the model's outputs.
    """

    at: Bottleneck
    norm: keras.layers.BatchNormalization
    branches: tuple[Branch, ...]

    def __call__(self, features: tf.Tensor, *, training: bool = False) -> list[tf.Tensor]:
        """What the labels are by the features at `at`."""
        x = tf.nn.relu(self.norm(tf.cast(features, tf.float32), training=training))
        return [branch(x) for branch in self.branches]

    @property
    def variables(self) -> list[Any]:
        """What is trained."""
        layers = (self.norm, *(branch.dense for branch in self.branches))
        return [v for layer in layers for v in layer.trainable_variables]


def attach_heads(model: keras.Model, calibration: Calibration) -> tuple[AuxiliaryHead, ...]:
    """Trains heads evenly spread over a network's depth, and the network a little with them.

    First the heads alone, then all of it for the sum of all losses (Zhuang et al., 2018), the
    network's BatchNorms in inference mode and estimated anew in the end.

    Args:
        model: The network; its weights change slightly, its layers stay as they are.
        calibration: The examples to train on.

    Returns:
        The heads in the order of computation; none where the network has too few layers.

    Raises:
        UserError: If TensorFlow cannot compute with its layers' names.
    """
    # Its layers are called by themselves, so that how their names begin matters as where it is saved.
    refuse_untraceable(model, saved=True)
    heads = _new_heads(model, calibration)
    if not heads:
        return heads
    groups = (
        ([v for head in heads for v in head.variables], HEAD_RATE, HEAD_PASSES),
        (model.trainable_variables, NETWORK_RATE, JOINT_PASSES),
    )
    trained: list[Any] = []
    optimizers: list[Any] = []
    done = 0
    with progress("auxiliary heads", HEAD_PASSES + JOINT_PASSES, "pass") as shown:
        for variables, rate, passes in groups:
            if not variables:
                continue
            optimizers.append(keras.optimizers.Adam(rate))
            trained.append(variables)
            step = _training_step(model, heads, calibration, trained, optimizers)
            for _ in range(passes):
                losses = [float(step(*batch)) for batch in tensors(calibration)]
                done += 1
                shown.update(done, loss=float(np.mean(losses)))
    recalibrate(model, calibration)
    return heads


def loss_at(
    model: keras.Model, head: AuxiliaryHead | None, calibration: Calibration, inputs: Any, labels: Any
) -> tf.Tensor:
    """The mean loss at one head, or of the network itself, everything in inference mode.

    Args:
        model: The network.
        head: The head; None for the network's own outputs. What follows it is not computed.
        calibration: Holds the loss.
        inputs: A tensor for each input.
        labels: One for each output.
    """
    if head is None:
        return tf.reduce_mean(calibration.loss(labels, replay(model, inputs, lambda _, __, x: x)))
    seen = _Features([head.at], stop=True)
    with suppress(AllSeenError):
        replay(model, inputs, seen)
    return tf.reduce_mean(calibration.loss(labels, _packed(model, head(seen.found[0]))))


def tensors(calibration: Calibration) -> list[tuple[tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]]:
    """The calibration batches as tensors."""
    return [
        (tuple(map(tf.constant, inputs)), tuple(map(tf.constant, labels)))
        for inputs, labels in calibration.batches()
    ]


def _new_heads(model: keras.Model, calibration: Calibration) -> tuple[AuxiliaryHead, ...]:
    places = _spread(find_bottlenecks(model))
    seen = _Features(places)
    outputs = replay(model, [tf.constant(x[:2]) for x in calibration.inputs], seen)
    forms = [_finish(x) for x in functional_graph(model).outputs]
    heads = []
    for number, (at, features) in enumerate(zip(places, seen.found, strict=True)):
        # A head needs an axis of examples and one of channels.
        if len(features.shape) < 2 or features.shape[0] != len(calibration.inputs[0][:2]):
            continue
        branches = []
        for place, (y, finish) in enumerate(zip(keras.tree.flatten(outputs), forms, strict=True)):
            by_position = len(y.shape) == len(features.shape) > 2
            size = y.shape[-1] if by_position else int(np.prod(y.shape[1:]))
            # Of zeros: nothing random, and a linear layer learns from there as well.
            dense = keras.layers.Dense(
                size, kernel_initializer="zeros", dtype="float32", name=f"head{number}_output{place}"
            )
            dense.build((None, features.shape[-1]))
            branches.append(Branch(dense, tuple(y.shape[1:]), by_position, finish))
        norm = keras.layers.BatchNormalization(momentum=0.9, dtype="float32", name=f"head{number}_norm")
        norm.build(features.shape)
        heads.append(AuxiliaryHead(at, norm, tuple(branches)))
    return tuple(heads)


def _spread(bottlenecks: Sequence[Bottleneck]) -> list[Bottleneck]:
    """Those nearest to equal parts of the depth; none just before the network's own classifier."""
    if not bottlenecks:
        return []
    last = bottlenecks[-1].depth
    usable = [bottleneck for bottleneck in bottlenecks if 1 <= bottleneck.depth < last]
    if not usable:
        return []
    wanted = [last * part / (HEADS + 1) for part in range(1, HEADS + 1)]
    nearest = [min(usable, key=lambda bottleneck: abs(bottleneck.depth - depth)) for depth in wanted]
    return list(dict.fromkeys(nearest))


def _finish(output: keras.KerasTensor) -> tuple[Callable[[Any], Any], ...]:
    """What the model does last to the values of an output, such as a softmax."""
    steps: list[Callable[[Any], Any]] = []
    while True:
        op, node, place = origin(output)
        if is_model(op):
            output = functional_graph(op).outputs[place]
            continue
        if callable(getattr(op, "activation", None)):
            return (op.activation, *steps)
        inputs = calls_of(op)[node].input_tensors
        if getattr(op, "weights", ()) or len(inputs) != 1 or inputs[0].shape != output.shape:
            return tuple(steps)
        steps.insert(0, op)
        output = inputs[0]


def _training_step(
    model: keras.Model,
    heads: Sequence[AuxiliaryHead],
    calibration: Calibration,
    groups: Sequence[Sequence[Any]],
    optimizers: Sequence[Any],
) -> Callable[[Any, Any], tf.Tensor]:
    """One step of each optimizer on its group of variables."""
    groups, optimizers = list(groups), list(optimizers)
    for variables, optimizer in zip(groups, optimizers, strict=True):
        if not optimizer.built:
            optimizer.build(variables)

    @tf.function(autograph=False, reduce_retracing=True)
    def step(inputs: Any, labels: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            seen = _Features([head.at for head in heads])
            outputs = [replay(model, inputs, seen)]
            found = zip(heads, seen.found, strict=True)
            outputs += [_packed(model, head(x, training=True)) for head, x in found]
            losses = [tf.reduce_mean(calibration.loss(labels, y)) for y in outputs]
            loss = tf.add_n(losses)
        sources = [[v.value for v in variables] for variables in groups]
        for variables, optimizer, gradients in zip(
            groups, optimizers, tape.gradient(loss, sources), strict=True
        ):
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            optimizer.apply_gradients(pairs)
        return loss / len(losses)

    return step


def _packed(model: keras.Model, outputs: list[tf.Tensor]) -> Any:
    return keras.tree.pack_sequence_as(outputs_structure(functional_graph(model)), outputs)


class _Features:
    """A tap that remembers what heads look at; it may stop at the last of them."""

    def __init__(self, places: Sequence[Bottleneck], *, stop: bool = False) -> None:
        self._places = {place.call: place.position for place in places}
        self._stop = stop
        self._calls = 0
        self.found: list[tf.Tensor] = []

    def __call__(self, path: str, op: Any, tensors: list[tf.Tensor]) -> list[tf.Tensor]:
        position = self._places.get(self._calls)
        self._calls += 1
        if position is not None:
            self.found.append(tensors[position])
            if self._stop and len(self.found) == len(self._places):
                raise AllSeenError
        return tensors
