"""How many units each group keeps where scores are losses."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.pruning.allocation import losses_in_turn
from pocketkube.pruning.criteria.base import Criterion
from pocketkube.pruning.pruner import Pruner


def harmonic(count: int) -> float:
    return sum(1 / number for number in range(1, count + 1))


@pytest.mark.parametrize("kept", [1, 3, 16])
def test_equal_losses_add_up_to_more_the_fewer_units_are_left(kept: int) -> None:
    lost = np.sort(losses_in_turn(np.full(16, 2.0)))[: 16 - kept].sum()
    assert lost == pytest.approx(2 * 16 * (harmonic(16) - harmonic(kept)))


def test_units_rank_as_their_losses_alone_do() -> None:
    losses = np.random.default_rng(0).exponential(size=40)
    losses[7] = np.inf
    np.testing.assert_array_equal(np.argsort(losses_in_turn(losses)), np.argsort(losses))
    assert losses_in_turn(losses)[7] == np.inf


def test_no_layer_is_emptied_for_losses_a_little_smaller_than_anothers() -> None:
    class Flat(Criterion):
        name = "flat"
        is_loss = True

        def scores(self, model: Any, graph: Any, calibration: Any) -> np.ndarray:
            found = np.empty(graph.units.count)
            for group in graph.groups:
                found[group.units] = 0.9 if group.name == "a" else 1.0
            return found

    model = keras.Sequential(
        [
            keras.Input((32,)),
            layers.Dense(64, name="a"),
            layers.Dense(32, name="between"),
            layers.Dense(64, name="b"),
            layers.Dense(32, name="head"),
        ]
    )
    pruner = Pruner(model, criterion=Flat(), round_to=1)
    counts = pruner.counts_for_speedup(2)
    # The next unit loses as much in either: 0.9 over the part of a that is left, 1 over that of b.
    assert counts["a"] == pytest.approx(0.9 * counts["b"], abs=1)
