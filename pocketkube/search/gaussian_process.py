"""What every search by a Gaussian process does with scikit-learn's."""

import warnings
from typing import Any

import numpy as np


def fitted_quietly(process: Any, points: np.ndarray, values: np.ndarray) -> Any:
    """A process that has learnt values, `[points]`, at points, `[points, dimensions]`."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # A reach or a noise at its bound is no one's mistake.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(points, values)


def expected_improvement(mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
    """How far values that are foreseen go above the best so far, in the mean (Jones et al., 1998).

    Args:
        mean: Of each value; more is better.
        deviation: The standard deviation of each.
        best: The best that is known.
    """
    from scipy.stats import norm

    deviation = np.maximum(deviation, 1e-12)
    better = (mean - best) / deviation
    return np.asarray((mean - best) * norm.cdf(better) + deviation * norm.pdf(better))
