"""Images as the arrays that all methods share, and these as PocketKube's API takes them."""

import numpy as np

from pocketkube.api.data import Splits
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Examples
from pocketkube.data.images import resized
from pocketkube.spec.sections import DatasetSettings
from tests.benchmarks.peers.arrays import Arrays, Part
from tests.benchmarks.peers.budget import Budget
from tests.benchmarks.peers.networks import DIGITS, FASHION_MNIST, Network

_SOURCES = {
    FASHION_MNIST: {"idx": "/usr/share/datasets/fashion-mnist"},
    DIGITS: {"builtin": "digits"},
}


def arrays_for(network: Network, budget: Budget) -> Arrays:
    """A network's images, enlarged where they have fewer pixels than it takes."""
    settings = {
        **_SOURCES[network.images],
        "max_train": budget.train,
        "validation_fraction": budget.validation_fraction,
    }
    dataset = load_dataset(DatasetSettings.model_validate(settings))
    train, validation, test = (
        _part(examples, network.pixels)
        for examples in (dataset.train, dataset.validation, dataset.test)
    )
    return Arrays(train, validation, test.first(budget.test or len(test.labels)))


def splits_of(arrays: Arrays) -> Splits:
    """The three parts."""
    parts = (arrays.train, arrays.validation, arrays.test)
    return Splits(*((part.images, part.labels) for part in parts))


def _part(examples: Examples, pixels: int) -> Part:
    (images,), (labels,) = materialize(examples, None, 0)
    images = resized(images, (pixels, pixels)).astype(np.float32)
    return Part(images, labels.reshape(-1).astype(np.int32))
