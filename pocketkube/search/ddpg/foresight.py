"""What trials and the sensitivity analysis say of choices not yet tried, as a sum of losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.search.problem import Problem


@dataclass(frozen=True)
class Foresight:
    """A foreseen score: what the whole network has, less a loss for each parameter.

    Attributes:
        whole: The score of the whole network.
        losses: Of each parameter at each level, `[parameters, most levels]`.
    """

    whole: float
    losses: np.ndarray

    def each(self, choices: np.ndarray) -> np.ndarray:
        """The loss of each parameter, `[…, parameters]`."""
        return self.losses[np.arange(len(self.losses)), choices]

    def scores(self, choices: np.ndarray) -> np.ndarray:
        """The score of each choice, `[…]`."""
        return self.whole - self.each(choices).sum(axis=-1)


def foresee(problem: Problem, choices: np.ndarray, scores: np.ndarray) -> Foresight:
    """Fits the sensitivity analysis, or no loss at all where there was none, to trials.

    The fit is Bayesian linear regression: each parameter's loss is what was measured, times a number
    near 1 that all have in common, and a parabola near 0; so a few trials change what was measured a
    little, and many as much as they have to.

    Args:
        problem: The search.
        choices: What was tried, `[trials, parameters]`.
        scores: What came of it, `[trials]`.
    """
    measured, cut = _measured(problem), _cut(problem)
    if not len(scores):
        return Foresight(0.0, measured)
    rows = np.arange(len(measured))
    columns = np.concatenate(
        [
            measured[rows, choices].sum(axis=1, keepdims=True),
            cut[rows, choices],
            cut[rows, choices] ** 2,
        ],
        axis=1,
    )
    spread = _spread(measured, scores)
    believed = np.concatenate([[0.3], spread, spread])
    # The common number's distance from 1.
    surprise = -scores - columns[:, 0]
    noise = max(0.2 * float(scores.std()), 1e-6)
    centre = columns.mean(axis=0)
    scaled = (columns - centre) * believed / noise
    inner = scaled.T @ scaled + np.eye(len(believed))
    found = believed * np.linalg.solve(inner, scaled.T @ (surprise - surprise.mean()) / noise)
    losses = (1 + found[0]) * measured
    losses += found[1 : len(rows) + 1, None] * cut + found[len(rows) + 1 :, None] * cut**2
    whole = float((scores + losses[rows, choices].sum(axis=1)).mean())
    return Foresight(whole, losses)


def _measured(problem: Problem) -> np.ndarray:
    levels = int(problem.space.sizes.max())
    losses: Sequence[Sequence[float]] = problem.losses or [(0.0,)] * len(problem.space.sizes)
    return np.array([[*each, *[each[-1]] * (levels - len(each))] for each in losses], float)


def _cut(problem: Problem) -> np.ndarray:
    """How much of a parameter each level takes away: 1 at the cheapest, 0 at the dearest."""
    levels = np.arange(int(problem.space.sizes.max()))
    return 1 - np.minimum(levels / np.maximum(problem.space.sizes - 1, 1)[:, None], 1.0)


def _spread(measured: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """How far a parabola may be from 0: as far as the loss that was measured, and not nothing."""
    least = max(float(scores.std()), 1e-6) / np.sqrt(len(measured))
    return (
        np.maximum(0.5 * measured.max(axis=1), 0.2 * least)
        if measured.any()
        else np.full(len(measured), least)
    )
