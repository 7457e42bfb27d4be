"""The handwritten digits that come with scikit-learn: 1797 real images of 8 x 8 pixels."""

import numpy as np
from sklearn.datasets import load_digits

from pocketkube.data.dataset import Dataset
from pocketkube.data.images import resized
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.spec.sections import DatasetSettings
from pocketkube.value_range import to_range

DEFAULT_SIZE = (32, 32)


def load(settings: DatasetSettings) -> Dataset:
    """Loads them, brought to 32 x 32 x 1 unless `image_size` says otherwise."""
    images, labels = load_digits(return_X_y=True)
    # Their pixels count from 0 to 16.
    pixels = (images.reshape(-1, 8, 8, 1) * (255.0 / 16.0)).astype(np.float32)
    size = settings.image_size or DEFAULT_SIZE
    return in_memory_dataset(
        "digits",
        Labelled((pixels,), (labels,)),
        None,
        settings,
        lambda rows: to_range(resized(rows, size), settings.value_range),
    )
