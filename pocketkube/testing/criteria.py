"""What holds of every criterion."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.graph.dependency import ChannelGraph, trace_channels
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.pruner import Pruner


class CriterionTests:
    """Give the fixture `criterion`; and `network`, where yours looks at layers that this one lacks."""

    @pytest.fixture
    def criterion(self) -> Criterion:
        """The criterion."""
        raise NotImplementedError

    @pytest.fixture
    def network(self) -> keras.Model:
        """A network of 12 x 12 images, with an addition and BatchNorm in it."""
        keras.utils.set_random_seed(0)
        image = keras.Input((12, 12, 3))
        x = layers.Conv2D(8, 3, padding="same", use_bias=False)(image)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        y = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
        x = layers.Add()([x, layers.BatchNormalization()(y)])
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, 2)(x))
        network = keras.Model(image, layers.Dense(4)(x))
        rng = np.random.default_rng(0)
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        return network

    @pytest.fixture
    def calibration(self, criterion: Criterion, network: keras.Model) -> Calibration | None:
        """Random examples; none for a criterion that needs no data."""
        if not criterion.needs_data:
            return None
        rng = np.random.default_rng(0)
        images = rng.normal(size=(64, *network.inputs[0].shape[1:])).astype("float32")
        labels = rng.integers(0, network.outputs[0].shape[-1], 64)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

        def loss_of_each(labels: Any, outputs: Any) -> Any:
            return loss(keras.tree.flatten(labels)[0], keras.tree.flatten(outputs)[0])

        return Calibration((images,), (labels,), loss_of_each)

    def test_scores_say_something_of_each_unit(
        self, criterion: Criterion, network: keras.Model, calibration: Calibration | None
    ) -> None:
        """One number of at least 0 for each unit, not all alike; infinite where it says nothing."""
        graph = trace_channels(network)
        scores = np.asarray(criterion.scores(network, graph, calibration))
        assert scores.shape == (graph.units.count,)
        assert not np.isnan(scores).any()
        assert (scores >= 0).all()
        assert len(np.unique(scores[np.isfinite(scores)])) > 1

    def test_scores_are_the_same_again_and_leave_the_network_as_it_is(
        self, criterion: Criterion, network: keras.Model, calibration: Calibration | None
    ) -> None:
        """Nothing random but what a seed says; a pruner scores the network that it is given."""
        graph, before = trace_channels(network), network.get_weights()
        first, second = (_scores(criterion, network, graph, calibration) for _ in range(2))
        np.testing.assert_allclose(first, second, rtol=1e-5)
        for old, new in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    def test_a_network_is_pruned_by_it(
        self, criterion: Criterion, network: keras.Model, calibration: Calibration | None
    ) -> None:
        """What it scores, and how it chooses, ends in a smaller network that still computes."""
        pruned = Pruner(network, criterion=criterion, calibration=calibration).to_speedup(2)
        assert pruned.after.macs < pruned.before.macs
        image = np.zeros((1, *network.inputs[0].shape[1:]), "float32")
        assert np.isfinite(pruned.model.predict(image, verbose=0)).all()


def _scores(
    criterion: Criterion, network: keras.Model, graph: ChannelGraph, calibration: Calibration | None
) -> np.ndarray:
    return np.asarray(criterion.scores(network, graph, calibration))
