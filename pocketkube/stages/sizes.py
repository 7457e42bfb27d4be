"""The size at which a job goes on with a model that takes inputs of any."""

from dataclasses import dataclass

import keras

from pocketkube.data.dataset import Dataset
from pocketkube.facts import InputSize
from pocketkube.graph.fixed_size import at_shapes, open_shapes


@dataclass(frozen=True)
class Sized:
    """A model whose inputs have one size.

    Attributes:
        model: The model.
        sizes: Those of its inputs, where it took any; else none.
    """

    model: keras.Model
    sizes: tuple[InputSize, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on the size, where it was the data that chose it."""
        if not self.sizes:
            return ()
        told = " and ".join(" x ".join(map(str, size.shape)) for size in self.sizes)
        return (
            "The model takes inputs of any size: it is compressed, judged and written as a LiteRT file "
            f"at {told}, as the data are. model.keras still takes any, where all of its layers can.",
        )


def at_size_of(dataset: Dataset, model: keras.Model) -> Sized:
    """Brings a model to the size of a data set's examples, where it takes any.

    Args:
        dataset: What it takes: the shapes fit.
        model: The model; it is left as it is.

    Raises:
        UserError: If a layer cannot take that size.
    """
    shapes = open_shapes(model)
    if not shapes:
        return Sized(model)
    sizes = tuple(
        InputSize(
            shape=tuple(map(int, given)),
            open_axes=tuple(axis for axis, size in enumerate(shape) if size is None),
        )
        for given, shape in zip(dataset.input_shapes, shapes, strict=True)
    )
    return Sized(at_shapes(model, [size.shape for size in sizes]), sizes)
