"""What builds a network that a package adds."""

from typing import TYPE_CHECKING, Protocol

import keras

if TYPE_CHECKING:
    from pocketkube.data import Dataset


class ModelBuilder(Protocol):
    """A function that builds a network for a spec's `model` or `student`."""

    def __call__(self, dataset: "Dataset", *, width: float, seed: int) -> keras.Model:
        """Builds it; called where a job begins, when its conversion is tried and when it is trained.

        Args:
            dataset: What it is to take and to tell apart: `input_shapes` and `labels`.
            width: What every layer's number of channels is multiplied by.
            seed: The weights follow from it.

        Returns:
            A functional model with fresh weights; compiled only where its losses are special.

        Raises:
            UserError: If it cannot take such data.
        """
        ...
