"""Whether a new version may take the deployed one's place, by the intervals of what was measured."""

from math import sqrt

import numpy as np
from scipy.stats import norm, t

from pocketkube.benchmarking.environment import shown_place
from pocketkube.benchmarking.intervals import CONFIDENCE
from pocketkube.benchmarking.results import BenchmarkReport
from pocketkube.errors import UserError
from pocketkube.retraining.lineage import GateCriterion, GateFacts
from pocketkube.retraining.scoring import Answers
from pocketkube.retraining.settings import Gate


def judge(
    bounds: Gate, measured: BenchmarkReport, deployed: Answers, candidate: Answers, opponent: str | None
) -> GateFacts:
    """Compares a new version with the deployed one on examples that neither has seen.

    Of what is uncertain the bad end of the interval counts: what may be too slow is too slow.

    Args:
        bounds: What it may cost.
        measured: The deployed version's file and the new one's, measured in turn.
        deployed: What the deployed version makes of the examples.
        candidate: What the new one makes of the same.
        opponent: The deployed version's name; None for the first, whose file was measured beside its
            uncompressed network's, and which has no bounds to keep.
    """
    criteria = [_chance(candidate)]
    if opponent is not None:
        criteria += [
            _score(bounds, deployed.scores, candidate.scores),
            _size(bounds, measured),
            *_latency(bounds, measured),
        ]
    return GateFacts(
        opponent=opponent,
        examples=len(candidate.scores),
        criteria=tuple(criteria),
        warnings=tuple(measured.load.warnings),
    )


def refuse_too_few(bounds: Gate, scores: np.ndarray, count: int, origin: str) -> None:
    """Says when so few test examples refuse even a version that is as good as the deployed one.

    Args:
        bounds: What it may cost.
        scores: Some of the deployed version's; nothing is known of those that are not 0 or 1.
        count: How many test examples there are.
        origin: What messages call them.

    Raises:
        UserError: If the interval is too wide where both are right on all.
    """
    all_right, limit = np.ones(count), bounds.max_score_drop
    if np.isin(scores, (0, 1)).all() and score_interval(all_right, all_right)[1] > limit:
        raise UserError(
            f"{origin}: {count} test examples cannot show a drop of at most {limit:g}, so that no "
            "version as good as the deployed one would pass its gate; give larger partitions or a "
            "larger gate.max_score_drop."
        )


def score_interval(deployed: np.ndarray, candidate: np.ndarray) -> tuple[float, float]:
    """The interval of 95 % confidence of how much lower a candidate's mean score is.

    Scores are of the same examples. Of those that are right or wrong, it is the interval for matched
    proportions of Agresti and Min (2005), who add half an example to each of the four cases; it has a
    width even where nothing changed. Of others it is Student's for the mean of the differences.

    Args:
        deployed: Scores `[n]`; the higher the better.
        candidate: Scores of the same examples `[n]`.
    """
    lost, count = deployed.astype(np.float64) - candidate, len(deployed)
    if np.isin(deployed, (0, 1)).all() and np.isin(candidate, (0, 1)).all():
        more, fewer, of = (lost > 0).sum() + 0.5, (lost < 0).sum() + 0.5, count + 2.0
        middle = (more - fewer) / of
        spread = sqrt((more + fewer) / of - middle**2) / sqrt(of)
        half = float(norm.ppf((1 + CONFIDENCE) / 2)) * spread
        return float(middle - half), float(middle + half)
    if count < 2:
        return -np.inf, np.inf
    half = float(t.ppf((1 + CONFIDENCE) / 2, count - 1) * lost.std(ddof=1) / sqrt(count))
    return float(lost.mean() - half), float(lost.mean() + half)


def _chance(candidate: Answers) -> GateCriterion:
    return GateCriterion(
        name="chance",
        candidate=float(candidate.scores.mean()),
        passed=not candidate.at_chance,
        note=candidate.at_chance,
    )


def _score(bounds: Gate, deployed: np.ndarray, candidate: np.ndarray) -> GateCriterion:
    low, high = score_interval(deployed, candidate)
    mends = bool(np.isfinite(candidate).all() and not np.isfinite(deployed).all())
    return GateCriterion(
        name="score",
        deployed=float(deployed.mean()),
        candidate=float(candidate.mean()),
        worse_by=float(deployed.mean() - candidate.mean()),
        interval=(low, high),
        limit=bounds.max_score_drop,
        # Not so where it is no number, unless that is the deployed version's fault.
        passed=mends or bool(high <= bounds.max_score_drop),
    )


def _size(bounds: Gate, measured: BenchmarkReport) -> GateCriterion:
    before, after = measured.files[0].size_bytes, measured.files[-1].size_bytes
    growth = after / before - 1
    return GateCriterion(
        name="size",
        deployed=before,
        candidate=after,
        worse_by=growth,
        limit=bounds.max_size_growth,
        passed=after <= before * (1 + bounds.max_size_growth),
    )


def _latency(bounds: Gate, measured: BenchmarkReport) -> list[GateCriterion]:
    if measured.latency_ratio is None or measured.latency_ratio_interval is None:
        return []
    low, high = measured.latency_ratio_interval
    threads = measured.reference_threads
    where = f"on {shown_place(measured.environment)}, {threads} thread{'' if threads == 1 else 's'}"
    return [
        GateCriterion(
            name="latency",
            deployed=measured.files[0].latency_ms.p50,
            candidate=measured.files[-1].latency_ms.p50,
            worse_by=1 / measured.latency_ratio - 1,
            interval=(1 / high - 1, 1 / low - 1),
            limit=bounds.max_latency_growth,
            passed=1 / low <= 1 + bounds.max_latency_growth,
            note=where,
        )
    ]
