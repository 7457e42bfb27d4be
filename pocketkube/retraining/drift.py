"""Whether new data are other than those that the deployed model knows, beyond what chance explains.

Scores are of different examples, before and now, so that they are compared as two samples: those that
are right or wrong by Fisher's exact test, others by Welch's t-test, one-sided. Inputs and outputs are
compared one number at a time by Kolmogorov and Smirnov's test at Bonferroni's level, which finds most
shifts with no labels at all, above all in what a model says (Rabanser, Günnemann and Lipton, "Failing
loudly", NeurIPS 2019; of outputs: Lipton, Wang and Smola, ICML 2018).
"""

import numpy as np
from scipy.stats import fisher_exact, ks_2samp, ttest_ind

from pocketkube.measures.paired import CHANCE
from pocketkube.retraining.lineage import DriftFacts, ScoreDrift, SignalDrift
from pocketkube.retraining.scoring import Answers
from pocketkube.retraining.settings import Drift


def drift_of(settings: Drift, before: Answers, now: Answers) -> DriftFacts:
    """Compares what the deployed model does on new data with what it did on its own.

    Args:
        settings: The bounds.
        before: Its answers on the test examples of its own partition.
        now: Its answers on examples of the new one.
    """
    signals = sorted(_signals(before, now), key=lambda signal: -signal.distance)
    least = min(signal.probability for signal in signals)
    beyond_chance = least < CHANCE / len(signals)
    farthest, bound = signals[0].distance, settings.max_distance
    return DriftFacts(
        score=score_drift(before.scores, now.scores, settings.max_score_drop),
        signals=tuple(signals),
        beyond_chance=beyond_chance,
        bound=bound,
        drifted=beyond_chance and bound is not None and farthest > bound,
        at_chance=now.at_chance,
    )


def score_drift(before: np.ndarray, now: np.ndarray, bound: float) -> ScoreDrift:
    """Whether scores fell by more than a bound, and by more than chance explains.

    Args:
        before: Scores of some examples `[m]`; the higher the better.
        now: Scores of others `[n]`.
        bound: Most that the mean may fall.
    """
    was, is_now = float(before.mean()), float(now.mean())
    probability = fallen_by_chance(before, now)
    return ScoreDrift(
        before=was,
        before_examples=len(before),
        now=is_now,
        examples=len(now),
        probability=probability,
        bound=bound,
        # A mean that is no number has fallen.
        drifted=not was - is_now <= bound and probability < CHANCE,
    )


def fallen_by_chance(before: np.ndarray, now: np.ndarray) -> float:
    """How likely chance alone makes scores of other examples so much lower."""
    if not np.isfinite(now).all():
        return 0.0 if np.isfinite(before).all() else 1.0
    if np.isin(before, (0, 1)).all() and np.isin(now, (0, 1)).all():
        counts = [[int(x.sum()), int((1 - x).sum())] for x in (now, before)]
        return float(fisher_exact(counts, alternative="less").pvalue)
    if min(len(before), len(now)) < 2 or np.ptp(before) == np.ptp(now) == 0:
        return 1.0 if now.mean() >= before.mean() else 0.0
    return float(ttest_ind(now, before, equal_var=False, alternative="less").pvalue)


def _signals(before: Answers, now: Answers) -> list[SignalDrift]:
    found = []
    for place, name in enumerate(before.names):
        # References are kept in single precision: what is equal has to be so here.
        was, is_now = (each.signals[:, place].astype(np.float32) for each in (before, now))
        test = ks_2samp(was, is_now)
        found.append(
            SignalDrift(name=name, distance=float(test.statistic), probability=float(test.pvalue))
        )
    return found
