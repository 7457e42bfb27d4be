"""Fits what a call of a whole network costs beside its operations."""

from collections.abc import Sequence

import numpy as np

from pocketkube.latency_table.table import CallCost


def fit_call(sums_us: Sequence[float], measured_us: Sequence[float]) -> CallCost:
    """The overhead and scale that bring sums of operations to whole networks' latencies.

    They make the sum of squared relative errors least, with no overhead below zero.

    Args:
        sums_us: For each network, the sum of its operations' times.
        measured_us: For each network, its measured latency; one or more.

    Returns:
        The call's cost.
    """
    sums, measured = np.asarray(sums_us, float), np.asarray(measured_us, float)
    relative = sums / measured
    scale_alone = float(relative.sum() / (relative @ relative))
    if len(sums) > 1:
        terms = np.stack([1 / measured, relative], axis=1)
        (overhead, scale), _, rank, _ = np.linalg.lstsq(terms, np.ones(len(sums)), rcond=None)
        # Networks of one size cannot tell overhead from scale.
        if rank == 2 and overhead >= 0 and scale > 0:
            return CallCost(overhead_us=float(overhead), scale=float(scale))
    return CallCost(overhead_us=0.0, scale=scale_alone)
