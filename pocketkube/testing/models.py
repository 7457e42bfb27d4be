"""What holds of every network that is built by its name."""

import keras
import numpy as np
import pytest

from pocketkube.data import Dataset
from pocketkube.graph.cost import profile_model
from pocketkube.graph.dependency import trace_channels
from pocketkube.models.builder import ModelBuilder
from pocketkube.testing.arrays import inputs_of


class ModelTests:
    """Give the fixtures `builder` and `dataset`, of data that the network is for."""

    @pytest.fixture
    def builder(self) -> ModelBuilder:
        """What builds the network."""
        raise NotImplementedError

    @pytest.fixture
    def dataset(self) -> Dataset:
        """Data that it takes."""
        raise NotImplementedError

    def test_it_takes_the_data(self, builder: ModelBuilder, dataset: Dataset) -> None:
        """Its inputs are of the data set's shapes, and what comes out is finite."""
        model = builder(dataset, width=1.0, seed=0)
        assert [tuple(x.shape[1:]) for x in model.inputs] == list(dataset.input_shapes)
        outputs = keras.tree.flatten(model(inputs_of(model), training=False))
        assert all(np.isfinite(np.asarray(output)).all() for output in outputs)

    def test_weights_follow_from_the_seed(self, builder: ModelBuilder, dataset: Dataset) -> None:
        """The same seed gives the same weights, another one others."""
        one, same, other = (builder(dataset, width=1.0, seed=seed).get_weights() for seed in (1, 1, 2))
        assert all(map(np.array_equal, one, same))
        assert not all(map(np.array_equal, one, other))

    def test_width_makes_it_wider(self, builder: ModelBuilder, dataset: Dataset) -> None:
        """A width of 2 has more parameters than one of 1."""
        narrow, wide = (builder(dataset, width=width, seed=0) for width in (1.0, 2.0))
        assert narrow.count_params() < wide.count_params()

    def test_it_can_be_pruned(self, builder: ModelBuilder, dataset: Dataset) -> None:
        """It has channels that may be cut, and no layer whose cost is not known."""
        model = builder(dataset, width=1.0, seed=0)
        assert trace_channels(model).groups
        assert not profile_model(model).unknown
