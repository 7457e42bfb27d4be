"""A data set: images of a bar, and the direction in which it lies."""

from typing import TYPE_CHECKING

from pydantic import Field

from pocketkube.spec.sections import AddedDataset, DatasetSettings

if TYPE_CHECKING:
    from pocketkube.data import Dataset


class Bars(AddedDataset):
    """Images `[size, size, 1]` of a bar through the middle, labelled by its direction `[2]`.

    A bar has no beginning: its direction is (cos, sin) of twice its angle.
    """

    examples: int = Field(320, ge=40, description="How many images there are.")
    size: int = Field(12, ge=8, description="Their side, in pixels.")

    def load(self, settings: DatasetSettings) -> "Dataset":
        """Draws them; the same ones each time."""
        import numpy as np

        from pocketkube.data.in_memory import Labelled, in_memory_dataset

        rng = np.random.default_rng(0)
        angles = rng.uniform(0, np.pi, self.examples)
        y, x = np.mgrid[: self.size, : self.size] - (self.size - 1) / 2
        across = x * np.sin(angles)[:, None, None] - y * np.cos(angles)[:, None, None]
        images = np.exp(-np.square(across)) + rng.normal(0, 0.1, across.shape)
        labels = np.stack([np.cos(2 * angles), np.sin(2 * angles)], axis=1)
        rows = Labelled((images[..., None].astype("float32"),), (labels.astype("float32"),))
        return in_memory_dataset("bars", rows, None, settings, lambda images: images)
