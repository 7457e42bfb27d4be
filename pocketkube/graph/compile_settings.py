"""Compiles a model that was made of another one as that one is."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import keras

from pocketkube.keras_private import compile_arguments, functional_of, outputs_structure
from pocketkube.structure import output_names

# What may be told of each output by its name.
BY_OUTPUT = ("loss", "loss_weights", "metrics", "weighted_metrics")


def compile_like(made: keras.Model, model: keras.Model, order: Sequence[int] | None = None) -> None:
    """Compiles a model as another one is, where that is compiled.

    Losses and metrics are taken as they are: what Keras writes of them leaves arguments out, as Huber's
    delta, and cannot be read where it names a function of the user's own.

    Args:
        made: The model to compile. Its outputs stand in the order of the other's; the layers that give
            them may have other names.
        model: A functional or sequential model.
        order: Where the model has each output of `made`, which gives a list; None for the same order.
    """
    if not model.compiled or not (given := compile_arguments(model)):
        return
    own = {name: keras.tree.map_structure(_own, value) for name, value in given.items()}
    if order is None:
        own |= _renamed(own, made, model)
    else:
        own |= {key: _in_order(own[key], model, order) for key in BY_OUTPUT if key in own}
    made.compile(**own)
    if made.built and not made.optimizer.built:
        # A file of one that has no variables yet makes Keras warn when it is loaded.
        made.optimizer.build(made.trainable_variables)


def _own(value: Any) -> Any:
    """Another optimizer or metric with the same settings: these hold variables of one model."""
    if isinstance(value, keras.optimizers.Optimizer | keras.metrics.Metric):
        # One of the user's own may have no settings that can be read.
        with suppress(Exception):
            return type(value).from_config(value.get_config())
    return value


def _in_order(told: Any, model: keras.Model, order: Sequence[int]) -> Any:
    """What is told of each output, in another order; what holds for all of them as it is."""
    names = output_names(model)
    if isinstance(told, Mapping) and set(told) <= set(names):
        told = [told.get(name) for name in names]
    if isinstance(told, list | tuple) and len(told) == len(names):
        return [told[place] for place in order]
    return told


def _renamed(given: Mapping[str, Any], made: keras.Model, model: keras.Model) -> dict[str, Any]:
    """What goes by names of layers, by those of the model that was made."""
    old, new = (functional_of(each) or each for each in (model, made))
    if isinstance(outputs_structure(old), dict):
        return {}
    names = dict(zip(old.output_names, new.output_names, strict=True))
    return {
        key: {names.get(name, name): value for name, value in told.items()}
        for key in BY_OUTPUT
        if isinstance(told := given.get(key), Mapping) and set(told) <= set(names)
    }
