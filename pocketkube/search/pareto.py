"""The trials that no other one beats in both score and a cost."""

from collections.abc import Iterable

from pocketkube.search.trial import Trial


def pareto_front(trials: Iterable[Trial], cost: str) -> tuple[Trial, ...]:
    """Of all trials those of which none has at least the score at no more cost.

    Of equal ones the first stays.

    Args:
        trials: Those without a score, or for which the cost is not known, are left out.
        cost: The cost's name, as "bytes" or "latency".

    Returns:
        From the cheapest to the dearest, so that scores rise.
    """
    judged = [(trial.costs[cost], trial.score, trial) for trial in trials if cost in trial.costs]
    known = [(spent, score, trial) for spent, score, trial in judged if score is not None]
    known.sort(key=lambda each: (each[0], -each[1], each[2].number))
    front: list[Trial] = []
    best = float("-inf")
    for _, score, trial in known:
        if score > best:
            front.append(trial)
            best = score
    return tuple(front)
