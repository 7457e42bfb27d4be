"""What each level of each parameter loses, re-estimated from the trials so far.

The score is taken for that of the whole network less the sum of the chosen levels' losses, which are
those that the sensitivity analysis foresaw, corrected as Bayesian linear regression has it. Corrections
of neighbouring levels are alike.
"""

from dataclasses import dataclass

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.samplers.history import History, as_rows

# How sure the foreseen losses are: their common factor, each one's relative error, and an error that
# even a loss of 0 may have, in parts of the mean loss. All as standard deviations.
FACTOR = 0.5
RELATIVE = 0.5
ABSOLUTE = 0.1
# How far along a parameter's range corrections are alike, and which part of them is each level's own.
REACH = 0.4
OWN = 0.3
# Between these the size of all errors and of the score's noise are found, by the trials' likelihood.
SIZES = tuple(4.0**power for power in range(-3, 4))
NOISES = tuple(10.0**power for power in range(-4, 1))
# What trials far below the best say of those near it counts less: by half at so many times the distance
# of the best tenth from the middle.
NEAR = 4.0


@dataclass(frozen=True)
class LossModel:
    """Losses, and how sure they are.

    Attributes:
        sizes: How many levels each parameter has, `[parameters]`.
        mean: The most likely losses, `[all levels]`, all parameters' one after the other.
        root: A square root of their covariance, `[all levels, all levels]`.
    """

    sizes: np.ndarray
    mean: np.ndarray
    root: np.ndarray

    def likely(self) -> list[np.ndarray]:
        """The most likely losses, `[levels]` for each parameter."""
        return self._split(self.mean)

    def drawn(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Losses that may be the true ones, `[levels]` for each parameter (Thompson, 1933)."""
        return self._split(self.mean + self.root @ rng.normal(size=len(self.mean)))

    def _split(self, losses: np.ndarray) -> list[np.ndarray]:
        return np.split(losses, np.cumsum(self.sizes)[:-1])


def foreseen_losses(problem: Problem) -> list[np.ndarray]:
    """The problem's losses; where nothing was measured, all parameters' grow alike with what is cut."""
    if problem.losses:
        return [np.asarray(each, float) for each in problem.losses]
    count = len(problem.space.sizes)
    return [np.linspace(1.0, 0.0, size) ** 1.5 / count for size in problem.space.sizes]


def loss_model(problem: Problem, past: History) -> LossModel:
    """Fits the losses to the trials so far; a failed one counts as the worst.

    Args:
        problem: The search.
        past: The trials.
    """
    sizes = problem.space.sizes
    prior = np.concatenate(foreseen_losses(problem))
    root = _prior_root(sizes, prior)
    choices = as_rows((*past.choices, *past.failed), len(sizes))
    scores = np.array([*past.scores, *[past.worst_score] * len(past.failed)])
    if len(past.choices) < 2:
        return LossModel(sizes, prior, root)
    taken = np.cumsum(sizes) - sizes + choices
    features = np.zeros((len(choices), len(prior)))
    np.put_along_axis(features, taken, 1.0, axis=1)
    spread = max(float(np.quantile(scores, 0.9) - np.quantile(scores, 0.5)), 1e-9)
    weights = 1 / (1 + ((scores.max() - scores) / (NEAR * spread)) ** 2)
    half = np.sqrt(weights)
    # The whole network's score is not known: weighted means are taken out of all.
    both = np.column_stack([-scores - features @ prior, features @ root])
    both = half[:, None] * (both - np.average(both, axis=0, weights=weights))
    residuals, columns = both[:, 0], both[:, 1:]
    values, vectors = np.linalg.eigh(columns.T @ columns)
    values = np.maximum(values, 0.0)
    along = vectors.T @ (columns.T @ residuals)
    rows = len(scores) - 1
    power = float(residuals @ residuals)
    scale = max(float(np.abs(prior).mean()), 1e-12)

    def likelihood(size: float, noise: float) -> float:
        grown = noise + size * values
        fit = (power - float((size * along**2 / grown).sum())) / noise
        logarithms = float(np.log(grown / noise).sum()) + rows * np.log(noise)
        return -0.5 * (fit + logarithms)

    size, noise = max(
        ((size, (noise * scale) ** 2) for size in SIZES for noise in NOISES),
        key=lambda pair: likelihood(*pair),
    )
    shrunk = size / (noise + size * values)
    correction = root @ (vectors @ (shrunk * along))
    spread_root = root @ (vectors * np.sqrt(noise * shrunk))
    return LossModel(sizes, prior + correction, spread_root)


def _prior_root(sizes: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """A square root of the covariance of the foreseen losses' errors."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    places = np.concatenate([np.linspace(0, 1, size) for size in sizes])
    deviation = RELATIVE * np.abs(prior) + ABSOLUTE * np.abs(prior).mean() * (1 - places)
    near = (1 - OWN) * np.exp(-0.5 * ((places[:, None] - places) / REACH) ** 2)
    near += OWN * np.eye(len(prior))
    alike = near * (owners[:, None] == owners)
    covariance = deviation[:, None] * alike * deviation + FACTOR**2 * np.outer(prior, prior)
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))
