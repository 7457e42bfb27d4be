"""Bayesian optimisation: a Gaussian process of the score, and what it expects to improve most."""

from typing import Any

import numpy as np

from pocketkube.search.cost_terms import cost_terms, interacting
from pocketkube.search.gaussian_process import expected_improvement, fitted_quietly
from pocketkube.search.local_search import local_search
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers.asking import ProposingSampler
from pocketkube.search.samplers.history import Choice, History, as_rows
from pocketkube.search.samplers.loss_model import loss_model

# The process takes time by the cube of the trials.
MOST_TRIALS = 160
RANDOM_CANDIDATES = 16
NEIGHBOURS = 64
PARENTS = 4


def _propose(problem: Problem, past: History, rng: np.random.Generator) -> Choice:
    """The process starts from the losses as trials corrected them, and learns what they leave out."""
    parameters = len(problem.space.sizes)
    cheapest = project(problem, np.zeros(parameters))
    if len(past.choices) < 2 or not cheapest.fits:
        return project(problem, rng.random(parameters)).choice
    model = loss_model(problem, past)
    offsets = np.cumsum(problem.space.sizes) - problem.space.sizes

    def foreseen(choices: np.ndarray) -> np.ndarray:
        return -model.mean[offsets + choices].sum(axis=1)

    terms = cost_terms(problem, np.array(cheapest.choice), interacting(problem))
    best = np.array(past.best)
    drawn = [
        local_search(problem, losses, best, terms) for losses in (model.likely(), model.drawn(rng))
    ]
    candidates = np.unique(np.concatenate([_pool(problem, past, rng), drawn]), axis=0)
    untried = [row for row in candidates if tuple(row.tolist()) not in past.tried]
    if not untried:
        return tuple(best.tolist())
    candidates = np.array(untried)
    choices, scores = _learnt_from(past.narrowed(MOST_TRIALS), parameters)
    rest = scores - foreseen(choices)
    process = _fitted(problem.space.point(choices), rest, rng)
    # What runs counts as what is foreseen of it, so that others stay away.
    if past.running:
        running = problem.space.point(as_rows(past.running, parameters))
        liar = process.predict(running)
        points = np.concatenate([problem.space.point(choices), running])
        process = _refitted(process, points, np.concatenate([rest, liar]))
    mean, deviation = process.predict(problem.space.point(candidates), return_std=True)
    improvement = expected_improvement(mean + foreseen(candidates), deviation, max(past.scores))
    return tuple(candidates[int(improvement.argmax())].tolist())


def _pool(problem: Problem, past: History, rng: np.random.Generator) -> np.ndarray:
    """Choices within the limit: anywhere, and near the best trials, `[choices, parameters]`."""
    sizes = problem.space.sizes
    points = list(rng.random((RANDOM_CANDIDATES, len(sizes))))
    order = np.argsort(-np.array(past.scores), kind="stable")[:PARENTS]
    for number in range(NEIGHBOURS):
        moved = np.array(past.choices[order[number % len(order)]])
        few = rng.choice(len(sizes), size=min(len(sizes), int(rng.integers(1, 4))), replace=False)
        moved[few] = np.clip(moved[few] + rng.choice([-2, -1, 1, 2], size=len(few)), 0, sizes[few] - 1)
        points.append(problem.space.point(moved))
    return np.array([project(problem, point).choice for point in points])


def _learnt_from(past: History, parameters: int) -> tuple[np.ndarray, np.ndarray]:
    """Choices and scores; a failed trial has the worst score."""
    choices = as_rows((*past.choices, *past.failed), parameters)
    return choices, np.array([*past.scores, *[past.worst_score] * len(past.failed)])


def _fitted(points: np.ndarray, values: np.ndarray, rng: np.random.Generator) -> Any:
    """A Gaussian process whose reach and noise the values' likelihood decides."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    reach = np.sqrt(points.shape[1])
    kernel = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(0.3 * reach, (0.02 * reach, 10 * reach), nu=2.5)
    process = GaussianProcessRegressor(
        kernel + WhiteKernel(0.1, (1e-6, 1e1)),
        normalize_y=True,
        random_state=int(rng.integers(2**31)),
    )
    return fitted_quietly(process, points, values)


def _refitted(process: Any, points: np.ndarray, values: np.ndarray) -> Any:
    """The same process after more values."""
    from sklearn.gaussian_process import GaussianProcessRegressor

    again = GaussianProcessRegressor(process.kernel_, optimizer=None, normalize_y=True)
    return fitted_quietly(again, points, values)


SAMPLER = ProposingSampler("gp", _propose)
