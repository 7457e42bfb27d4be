"""Calls a model as a compression method computes with it."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from pocketkube.structure import arranged
from pocketkube.training.method import Method


def call_model(
    model: Any,
    inputs: Sequence[tf.Tensor],
    method: Method,
    *,
    training: bool,
    compute: Callable[..., Any] | None = None,
) -> tuple[Any, Sequence[Any]]:
    """Computes a model's outputs with the tensors that a method puts in the place of variables.

    It is part of a `tf.function`.

    Args:
        model: The model.
        inputs: A tensor for each of its inputs, `[batch, ...]`.
        method: The method.
        training: Whether layers are in training mode.
        compute: Called instead of the model, with the same arguments.

    Returns:
        What `compute` or the model returns, and the losses that layers add to the task's.
    """
    compute = compute or model
    arguments = arranged(model, inputs)
    replaced = method.replaced()
    if not replaced:
        outputs = compute(arguments, training=training)
        return outputs, model.losses
    with keras.StatelessScope(state_mapping=replaced, collect_losses=True) as scope:
        outputs = compute(arguments, training=training)
    if training:
        # Nothing is assigned within the scope, but statistics and random states have to move on.
        for layer in (model, *method.layers):
            for variable in layer.non_trainable_variables:
                moved = scope.get_current_value(variable)
                if moved is not None:
                    variable.assign(moved)
    return outputs, [*scope.losses, *model.losses]
