"""Bayesian optimisation: a Gaussian process of what is known says where a trial promises most."""

from collections.abc import Mapping, Sequence

import numpy as np

from pocketkube.search.gaussian_process import expected_improvement, fitted_quietly
from pocketkube.search.local_katib.algorithms.algorithm import (
    SEED,
    Suggested,
    Suggester,
    known_values,
    one_of,
    seed_of,
    whole,
)
from pocketkube.search.local_katib.algorithms.drawn import random_assignment
from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.trial import Trial

# What Katib's service has besides (forests, an acquisition function by the second, the portfolio of
# functions that it uses where none is named) is not here; named, it is refused.
_SETTINGS = {
    "base_estimator": one_of("GP"),
    "n_initial_points": whole(0),
    "acq_func": one_of("EI", "PI", "LCB"),
    "acq_optimizer": one_of("auto", "sampling"),
    **SEED,
}
_CANDIDATES = 2000
_NEAR_BEST = 500


def _bayesian(experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested:
    known = known_values(experiment, trials)
    settings = experiment.algorithm.settings
    if len(known) < max(int(settings.get("n_initial_points", 10)), 1):
        return Suggested(random_assignment(experiment, len(trials)))
    best, best_value = min(known, key=lambda pair: pair[1])
    running = [trial for trial in trials if trial.state == "Running"]
    # A trial that runs is taken for as good as the best, so that others keep away from it.
    points = [trial.assignment for trial, _ in known] + [trial.assignment for trial in running]
    values = np.array([value for _, value in known] + [best_value] * len(running))
    rng = np.random.default_rng([seed_of(experiment), len(trials)])
    candidates = _candidates(experiment, best, rng)
    scores = _promises(
        np.array([_features(experiment, each) for each in points]),
        values,
        np.array([_features(experiment, each) for each in candidates]),
        settings.get("acq_func", "EI"),
        seed_of(experiment),
    )
    tried = {tuple(each.values()) for each in points}
    order = np.argsort(-scores, kind="stable")
    fresh = [index for index in order if tuple(candidates[index].values()) not in tried]
    return Suggested(candidates[(fresh or list(order))[0]])


def _candidates(experiment: Experiment, best: Trial, rng: np.random.Generator) -> list[dict[str, str]]:
    """Assignments all over, and some near the best one."""
    parameters = experiment.parameters
    anywhere = rng.random((_CANDIDATES, len(parameters)))
    middle = np.array([each.place_of(best.assignment[each.name]) for each in parameters])
    near = middle + rng.normal(scale=0.05, size=(_NEAR_BEST, len(parameters)))
    places = np.concatenate([anywhere, np.clip(near, 0, 1)])
    return [
        {each.name: each.value_at(place) for each, place in zip(parameters, row, strict=True)}
        for row in places
    ]


def _features(experiment: Experiment, assignment: Mapping[str, str]) -> list[float]:
    """Numbers by their place, values of a list by a 1 for theirs."""
    found: list[float] = []
    for each in experiment.parameters:
        text = assignment[each.name]
        found += (
            [each.place_of(text)] if each.is_number else [float(text == value) for value in each.values]
        )
    return found


def _promises(
    points: np.ndarray, values: np.ndarray, candidates: np.ndarray, function: str, seed: int
) -> np.ndarray:
    """How much each candidate promises, more being better, `[candidates]`."""
    from scipy.stats import norm
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import Matern, WhiteKernel

    kernel = Matern(np.full(points.shape[1], 0.5), (0.05, 20.0), nu=2.5) + WhiteKernel(
        1e-4, (1e-8, 1e-1)
    )
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    fitted_quietly(model, points, values)
    mean, deviation = model.predict(candidates, return_std=True)
    if function == "LCB":
        return 1.96 * deviation - mean
    if function == "PI":
        return norm.cdf((values.min() - mean) / np.maximum(deviation, 1e-12))
    # Less is better here.
    return expected_improvement(-mean, deviation, -values.min())


BAYESIAN = Suggester(_bayesian, _SETTINGS)
