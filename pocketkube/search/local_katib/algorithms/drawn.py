"""Algorithms that do not look at what came of trials: random, Sobol's sequence, and a grid."""

import math
from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from pocketkube.search.local_katib.algorithms.algorithm import SEED, Suggested, Suggester, seed_of
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.trial import Trial


def random_assignment(experiment: Experiment, number: int) -> dict[str, str]:
    """An assignment that is drawn.

    Args:
        experiment: The experiment.
        number: How many trials there are already: each number has a draw of its own.
    """
    places = np.random.default_rng([seed_of(experiment), number]).random(len(experiment.parameters))
    return {
        each.name: each.value_at(place)
        for each, place in zip(experiment.parameters, places, strict=True)
    }


def _random(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    return Suggested(random_assignment(experiment, len(trials)))


def _sobol(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    from scipy.stats.qmc import Sobol

    sequence = Sobol(len(experiment.parameters), scramble=True, seed=seed_of(experiment))
    if trials:
        sequence.fast_forward(len(trials))
    # One point of the sequence at a time: the warning is of averages over fewer than 2**n points.
    places = sequence.random(1)[0]
    return Suggested(
        {
            each.name: each.value_at(place)
            for each, place in zip(experiment.parameters, places, strict=True)
        }
    )


def _grid(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested | None:
    size = _grid_size(experiment)
    if len(trials) >= size:
        return None
    # The last parameter changes fastest; with a seed, the points come in an order of their own.
    point = len(trials)
    if "random_state" in experiment.algorithm.settings:
        point = _shuffled(point, size, seed_of(experiment))
    values = {}
    for each in reversed(experiment.parameters):
        point, index = divmod(point, each.size)
        values[each.name] = each.value(index)
    return Suggested({each.name: values[each.name] for each in experiment.parameters})


def _shuffled(place: int, size: int, seed: int) -> int:
    """The number at a place of 0 to size - 1 shuffled, without a list of them: there may be 10^30."""
    draws, drawn = Random(seed), dict[int, None]()
    while len(drawn) <= place:
        drawn[draws.randrange(size)] = None
    return next(reversed(drawn))


def _grid_size(experiment: Experiment) -> int:
    return math.prod(each.size for each in experiment.parameters)


def _check_grid(experiment: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    endless = False
    for index, each in enumerate(experiment.parameters):
        if not each.size:
            endless = True
            place = ("spec", "parameters", index, "feasibleSpace")
            yield place, f"grid needs a step for {each.name}"
    size, most = _grid_size(experiment), experiment.max_trials
    if not endless and most is not None and most > size:
        yield ("spec", "maxTrialCount"), f"the grid has {size} points; received {most}"


RANDOM = Suggester(_random, SEED)
SOBOL = Suggester(_sobol, SEED)
GRID = Suggester(_grid, SEED, _check_grid)
