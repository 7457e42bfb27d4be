"""Whether a model does worse than another on the same examples, or whether that may be chance."""

import numpy as np
from scipy.stats import binomtest, ttest_rel

# What lies beyond two standard errors, on one side.
CHANCE = 0.0228


def is_worse(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether scores are lower than those of the same examples before, by more than chance explains.

    Of examples that are right or wrong, those that changed are counted: McNemar's test, exact. Other
    scores are compared by Student's t-test of their differences. One-sided, two standard errors each.

    Args:
        before: Scores of the examples `[n]`; the higher the better.
        after: Scores of the same examples `[n]`.
    """
    # Squares of what has diverged are beyond single precision.
    before, after = before.astype(np.float64), after.astype(np.float64)
    lost = before - after
    if not np.isfinite(after).all():
        return bool(np.isfinite(before).all())
    if np.isin(before, (0, 1)).all() and np.isin(after, (0, 1)).all():
        wrong, right = int((lost > 0).sum()), int((lost < 0).sum())
        return wrong > right and binomtest(wrong, wrong + right, alternative="greater").pvalue < CHANCE
    if len(lost) < 2 or lost.mean() <= 0:
        return False
    spread = lost.std()
    return spread == 0 or bool(ttest_rel(before, after, alternative="greater").pvalue < CHANCE)
