"""The size at which a job goes on with a model that takes inputs of any."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras

from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError
from pocketkube.facts import InputSize
from pocketkube.graph.fixed_size import are_of_images, at_image_size, at_shapes, open_shapes
from pocketkube.shapes import Shape
from pocketkube.spec.sections import DatasetSettings


@dataclass(frozen=True)
class Sized:
    """A model whose inputs have one size.

    Attributes:
        model: The model.
        sizes: Those of its inputs, where it took any; else none.
        chosen: What chose them, in words.
    """

    model: keras.Model
    sizes: tuple[InputSize, ...] = ()
    chosen: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the size, where the model took any."""
        if not self.sizes:
            return ()
        told = " and ".join(" x ".join(map(str, size.shape)) for size in self.sizes)
        return (
            "The model takes inputs of any size: it is compressed, judged and written as a LiteRT file "
            f"at {told}, {self.chosen}. model.keras still takes any, where all of its layers can.",
        )


def at_size_of(dataset: Dataset, model: keras.Model) -> Sized:
    """Brings a model to the size of a data set's examples, where it takes any.

    Args:
        dataset: What it takes: the shapes fit.
        model: The model; it is left as it is.

    Raises:
        UserError: If a layer cannot take that size.
    """
    if not open_shapes(model):
        return Sized(model)
    sized = at_shapes(model, dataset.input_shapes)
    return Sized(sized, _sizes(sized, open_shapes(model)), "as the data are")


def at_size_asked(settings: DatasetSettings, model: keras.Model) -> Sized:
    """Brings a model to the size that a spec without examples says, where it takes any.

    Args:
        settings: The spec's section dataset.
        model: The model; it is left as it is.

    Raises:
        UserError: If none is said, or one of a model that takes no other, or a layer cannot take it.
    """
    if settings.image_size is not None:
        sized = at_image_size(model, settings.image_size)
        return Sized(sized, _sizes(sized, open_shapes(model)), "as dataset.image_size says")
    if shapes := open_shapes(model):
        remedy = "give data whose examples have one"
        if are_of_images(shapes):
            remedy = "give it, as in dataset: {builtin: none, image_size: [224, 224]}"
        raise UserError(
            f"model: {model.name} takes inputs of any size, {', '.join(map(str, shapes))}, and there "
            f"are no examples that have one: {remedy}."
        )
    return Sized(model)


def _sizes(sized: keras.Model, shapes: Sequence[Shape]) -> tuple[InputSize, ...]:
    return tuple(
        InputSize(
            shape=tuple(tensor.shape[1:]),
            open_axes=tuple(axis for axis, size in enumerate(shape) if size is None),
        )
        for tensor, shape in zip(sized.inputs, shapes, strict=True)
    )
