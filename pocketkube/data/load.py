"""Loads the data set that a spec names."""

from pathlib import Path

from pocketkube.data import cifar, digits, idx, image_folder, npz, tfrecord
from pocketkube.data.dataset import Dataset
from pocketkube.data.images import place
from pocketkube.spec.sections import DatasetSettings


def load_dataset(settings: DatasetSettings, base: Path = Path()) -> Dataset:
    """Loads a data set and splits it.

    The splits are the same on every call, whatever the run's seed, and no example is in two of
    them. A source's own test set stays the test set.

    Args:
        settings: The source, and what is done to its images.
        base: The folder that relative paths start from.

    Returns:
        The data set, its images float32 `[height, width, channels]` in `settings.value_range`.

    Raises:
        UserError: If the source is missing or damaged, or its labels or inputs are unusable.
    """
    kind, where = settings.source
    if kind == "builtin":
        return digits.load(settings)
    path = place(base, where)
    match kind:
        case "npz":
            return npz.load(path, settings)
        case "idx":
            return idx.load(path, settings)
        case "cifar10":
            return cifar.load(path, 10, settings)
        case "cifar100":
            return cifar.load(path, 100, settings)
        case "image_folder":
            return image_folder.load(path, settings)
        case _:
            return tfrecord.load(path, settings)
