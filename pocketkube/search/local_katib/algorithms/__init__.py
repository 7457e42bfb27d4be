"""Katib's algorithms on one machine: each a function from the trials so far to the next assignment."""

from collections.abc import Iterator

from pocketkube.search.local_katib.algorithms.algorithm import Suggested, Suggester
from pocketkube.search.local_katib.algorithms.bayesian import BAYESIAN
from pocketkube.search.local_katib.algorithms.cmaes import CMAES
from pocketkube.search.local_katib.algorithms.drawn import GRID, RANDOM, SOBOL
from pocketkube.search.local_katib.algorithms.ours import OURS
from pocketkube.search.local_katib.algorithms.tpe import MULTIVARIATE_TPE, TPE
from pocketkube.search.local_katib.experiment import Experiment

ALGORITHMS: dict[str, Suggester] = {
    "random": RANDOM,
    "grid": GRID,
    "sobol": SOBOL,
    "tpe": TPE,
    "multivariate-tpe": MULTIVARIATE_TPE,
    "cmaes": CMAES,
    "bayesianoptimization": BAYESIAN,
    **OURS,
}
_ELSEWHERE = ("hyperband", "enas", "darts", "pbt")

__all__ = ["ALGORITHMS", "Suggested", "Suggester", "check_algorithm", "suggester_of"]


def suggester_of(experiment: Experiment) -> Suggester:
    """The algorithm of an experiment that `check_algorithm` has nothing to say of."""
    return ALGORITHMS[experiment.algorithm.name]


def check_algorithm(experiment: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with an experiment's algorithm: keys that lead to it, and a sentence.

    Args:
        experiment: The experiment.
    """
    name, place = experiment.algorithm.name, ("spec", "algorithm")
    if name not in ALGORITHMS:
        why = "is run on a cluster alone" if name in _ELSEWHERE else "is no algorithm"
        yield (
            (*place, "algorithmName"),
            f"{name} {why}; on one machine there are {', '.join(ALGORITHMS)}",
        )
        return
    suggester = ALGORITHMS[name]
    for index, (key, text) in enumerate(experiment.algorithm.settings.items()):
        here = (*place, "algorithmSettings", index)
        setting = suggester.settings.get(key)
        if setting is None:
            yield here, f"{name} has the settings {', '.join(suggester.settings)}; received {key}"
            continue
        try:
            setting.read(text)
        except ValueError:
            yield here, f"{key} must be {setting.wanted}; received {text:.60}"
    yield from suggester.check(experiment)
