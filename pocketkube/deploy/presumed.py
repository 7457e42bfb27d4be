"""What a model's outputs mean where there are no labels to tell."""

from typing import Any

import keras

from pocketkube.keras_private import compiled_loss, origin
from pocketkube.measures import Classes, HeadMeasure, TaskMeasure, Values
from pocketkube.structure import output_names


def presumed_measure(model: keras.Model) -> TaskMeasure:
    """How a model's outputs are compared without labels.

    Classes where an output ends in a softmax, or was compiled with a crossentropy over several units;
    else values.

    Args:
        model: A functional or sequential model.
    """
    losses = _losses(model)
    heads = []
    for tensor, name in zip(model.outputs, output_names(model), strict=True):
        crossed = "crossentropy" in losses.get(name, "") and tensor.shape[-1] not in (None, 1)
        classes = _ends_in_softmax(tensor) or (crossed and "binary" not in losses[name])
        heads.append(HeadMeasure(name, Classes() if classes else Values()))
    return TaskMeasure(tuple(heads))


def _ends_in_softmax(tensor: Any) -> bool:
    layer = origin(tensor)[0]
    if isinstance(layer, keras.Sequential) or (
        isinstance(layer, keras.Model) and len(getattr(layer, "outputs", ())) == 1
    ):
        return _ends_in_softmax(layer.outputs[0])
    if isinstance(layer, keras.layers.Softmax):
        return True
    return getattr(layer, "activation", None) is keras.activations.softmax


def _losses(model: keras.Model) -> dict[str, str]:
    """What the loss of each output is called, where the model is compiled."""
    if not model.compiled:
        return {}
    loss, names = compiled_loss(model)[0], output_names(model)
    if isinstance(loss, dict):
        return {name: _called(each) for name, each in loss.items()}
    each = list(loss) if isinstance(loss, list | tuple) else [loss] * len(names)
    return dict(zip(names, map(_called, each), strict=False))


def _called(loss: Any) -> str:
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", ""))
    return str(name).lower()
