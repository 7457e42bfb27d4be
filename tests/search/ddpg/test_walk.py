"""Walks keep the budget within reach, and what is replayed is what was walked."""

import numpy as np
import pytest

from pocketkube.search.ddpg.layers import layer_facts
from pocketkube.search.ddpg.walk import Ways
from tests.search.synthetic import synthetic


@pytest.mark.parametrize("action", [0.0, 0.5, 1.0])
def test_whatever_is_wished_for_the_budget_is_kept(action: float) -> None:
    problem = synthetic(8, part=0.3).problem
    ways = Ways(problem, np.zeros((8, 2)))
    walks = ways.walk(lambda _, states: np.full(len(states), action), 3)
    assert (problem.costs(walks.choices) <= problem.limit.most).all()
    # What comes first gets what it wishes for, as long as the rest can make it good.
    assert (walks.choices[:, 0] == round(action * 6)).all()


def test_a_walk_that_is_replayed_goes_through_the_same_states() -> None:
    problem = synthetic(6, part=0.5, decides=("kept", "bits"), cost="bytes").problem
    ways = Ways(problem, np.random.default_rng(1).random((12, 2)))
    rng = np.random.default_rng(0)
    walks = ways.walk(lambda _, states: rng.random(len(states)), 5)
    again = ways.again(walks.choices)
    np.testing.assert_allclose(again.states, walks.states, atol=1e-9)


def test_what_is_known_of_layers_is_of_about_one_size() -> None:
    problem = synthetic(6, decides=("kept", "sparsity", "bits"), cost="bytes").problem
    facts = layer_facts(problem)
    assert len(facts) == 18
    assert np.abs(facts).max() <= 1.5
    # No two parameters look alike.
    assert len(np.unique(facts.round(9), axis=0)) == 18
