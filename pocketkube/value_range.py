"""Brings images of 8 bits to the range of values that a model takes."""

import numpy as np

from pocketkube.spec.sections import DatasetSettings

# What 0 and 255 become where nobody says otherwise.
DEFAULT_RANGE: tuple[float, float] = DatasetSettings.model_fields["value_range"].default


def is_image(rows: np.ndarray) -> bool:
    """Whether rows of an array file are images of 8 bits: uint8 of three axes or more."""
    return rows.dtype == np.uint8 and rows.ndim >= 3


def to_range(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """float32 images in which 0 and 255 have become the ends of `value_range`."""
    low, high = value_range
    scaled = images.astype(np.float32)
    scaled *= np.float32((high - low) / 255.0)
    scaled += np.float32(low)
    return scaled
