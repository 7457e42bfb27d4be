"""CMA-ES: generations of trials, played again from the history at each question."""

from collections.abc import Iterator, Sequence

import numpy as np

from pocketkube.search.local_katib.algorithms.algorithm import (
    SEED,
    Suggested,
    Suggester,
    known_values,
    number,
    one_of,
    seed_of,
    seed_of_question,
)
from pocketkube.search.local_katib.algorithms.drawn import random_assignment
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.parameter import Parameter
from pocketkube.search.local_katib.trial import Trial

_SETTINGS = {"sigma": number(0), "restart_strategy": one_of("ipop", "none", "None"), **SEED}


def _cmaes(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    # What has a list is drawn.
    assignment = random_assignment(experiment, len(trials))
    free = [each for each in experiment.parameters if each.is_number and each.least < each.most]
    if free:
        strategy = _Strategy(experiment, free)
        strategy.play(trials)
        assignment |= strategy.ask(len(trials))
    return Suggested(assignment)


class _Strategy:
    """The distribution that the next trial is drawn from.

    A generation is as many trials as the population has, by their numbers; it counts once all of them
    have ended. Those that are asked for meanwhile are drawn from the distribution before it.
    """

    def __init__(self, experiment: Experiment, free: Sequence[Parameter]) -> None:
        self._experiment, self._free = experiment, free
        self._bounds = np.array([each.bounds for each in free])
        self._restarts = 0
        self._population: int | None = None
        self._start(self._bounds.mean(1))

    def play(self, trials: Sequence[Trial]) -> None:
        """Learns from all generations that have ended."""
        values = {trial.number: value for trial, value in known_values(self._experiment, trials)}
        begun = 0
        while True:
            size = self._cma.population_size
            generation = trials[begun : begun + size]
            if len(generation) < size or any(each.state == "Running" for each in generation):
                return
            begun += size
            known = [values[each.number] for each in generation if each.number in values]
            if not known:
                continue
            # One without a value is as bad as the worst.
            self._cma.tell(
                [(self._vector(each), values.get(each.number, max(known))) for each in generation]
            )
            if self._experiment.algorithm.settings.get("restart_strategy") == "ipop" and (
                self._cma.should_stop()
            ):
                self._restart()

    def ask(self, number: int) -> dict[str, str]:
        """Draws an assignment of the free parameters; each number has a draw of its own."""
        self._cma.reseed_rng(seed_of_question(self._experiment, number))
        drawn = self._cma.ask()
        return {each.name: each.text_of(value) for each, value in zip(self._free, drawn, strict=True)}

    def _restart(self) -> None:
        self._restarts += 1
        self._population = 2 * self._cma.population_size
        rng = np.random.default_rng([seed_of(self._experiment), self._restarts])
        low, high = self._bounds.T
        self._start(low + rng.random(len(self._free)) * (high - low))

    def _start(self, mean: np.ndarray) -> None:
        from cmaes import CMA

        widths = self._bounds[:, 1] - self._bounds[:, 0]
        sigma = float(self._experiment.algorithm.settings.get("sigma", widths.min() / 6))
        self._cma = CMA(
            mean=mean,
            sigma=sigma,
            bounds=self._bounds,
            seed=seed_of(self._experiment),
            population_size=self._population,
        )

    def _vector(self, trial: Trial) -> np.ndarray:
        return np.array([each.scaled(trial.assignment[each.name]) for each in self._free])


def _check(experiment: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if sum(each.is_number for each in experiment.parameters) < 2:
        yield ("spec", "parameters"), "cmaes needs two or more parameters of type double or int"


CMAES = Suggester(_cmaes, _SETTINGS, _check)
