"""The losses that a model is compiled with, sorted by its outputs as Keras sorts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pocketkube.errors import UserError, first_line
from pocketkube.keras_private import (
    CompileLoss,
    LossFunctionWrapper,
    compiled_loss,
    compiled_metrics,
    flat_losses,
    functional_of,
    loss_arguments,
    outputs_structure,
    to_snake_case,
)
from pocketkube.structure import output_names


@dataclass(frozen=True)
class CompiledLoss:
    """What one output is compiled with.

    Attributes:
        loss: The loss.
        weight: What it is multiplied by before all are summed up.
    """

    loss: keras.losses.Loss
    weight: float


def is_compiled(model: keras.Model) -> bool:
    """Whether a model is compiled with a loss for any of its outputs."""
    return bool(model.compiled) and any(
        loss is not None for loss in keras.tree.flatten(getattr(model, "loss", None))
    )


def compiled_losses(
    model: keras.Model, labels: Sequence[keras.KerasTensor]
) -> list[CompiledLoss | None]:
    """The loss of each output in the order of `model.outputs`; None where an output has none.

    Keras itself resolves names, lists, dicts and weights, so that what is trained is what `fit` trains.

    Args:
        model: A model that is compiled with a loss.
        labels: Shape and type of each output's labels, by which Keras tells what "crossentropy" is.

    Raises:
        UserError: If settings and outputs do not fit each other, or one output has several losses.
    """
    loss, weights = compiled_loss(model)
    structure = output_structure(model)
    resolved = CompileLoss(
        loss,
        weights,
        output_names=getattr(model, "output_names", None),
    )
    try:
        resolved.build(_packed(structure, labels), _packed(structure, model.outputs))
    except (ValueError, TypeError, KeyError) as error:
        reason = first_line(str(error).strip("'\""))
        raise UserError(
            f"The model {model.name} is compiled with losses that do not fit its outputs: {reason}"
        ) from error
    places = _packed(structure, range(len(model.outputs)))
    found: list[CompiledLoss | None] = [None] * len(model.outputs)
    for path, loss, weight, name in flat_losses(resolved):
        place = places
        for key in path:
            place = place[key]
        if found[place] is not None:
            raise UserError(
                f"The model {model.name} is compiled with several losses for its output {name}: give "
                "it one, which may be a function of your own that adds them up."
            )
        found[place] = CompiledLoss(_plain(loss), 1.0 if weight is None else float(weight))
    return found


def metric_names(model: keras.Model) -> list[frozenset[str]]:
    """The names of the metrics that each output is compiled with, in the order of `model.outputs`."""
    given, count = compiled_metrics(model), len(model.outputs)
    if isinstance(given, Mapping):
        places = dict(zip(output_names(model), range(count), strict=True))
        found: list[Any] = [None] * count
        for name, metrics in given.items():
            if name in places:
                found[places[name]] = metrics
    elif count == 1:
        found = [given]
    else:
        nested = isinstance(given, list | tuple) and len(given) == count
        found = list(given) if nested else [None] * count
    return [frozenset(map(_metric_name, keras.tree.flatten(each))) for each in found]


def _metric_name(metric: Any) -> str:
    kind = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
    return to_snake_case(kind)


def output_structure(model: keras.Model) -> Any:
    """What a call of the model gives: one tensor, or a list or dict of them."""
    return outputs_structure(functional_of(model) or model)


def _packed(structure: Any, values: Any) -> Any:
    return keras.tree.pack_sequence_as(structure, list(values))


def _plain(loss: keras.losses.Loss) -> keras.losses.Loss:
    """Keras's own losses as function and arguments: some of their configs leave arguments out."""
    if isinstance(loss, LossFunctionWrapper) and type(loss).__module__.startswith("keras."):
        return LossFunctionWrapper(loss.fn, loss.reduction, loss.name, **loss_arguments(loss))
    return loss
