from hypothesis import given, settings
from hypothesis import strategies as st

from pocketkube.search.pareto import pareto_front
from pocketkube.search.trial import Trial

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(points=POINTS)
def test_every_trial_is_on_the_front_or_beaten_by_one_on_it(points: list[tuple[int, int]]) -> None:
    trials = [Trial(n, (n,), "done", float(s), {"bytes": float(c)}) for n, (c, s) in enumerate(points)]
    front = {trial.number for trial in pareto_front(trials, "bytes")}
    for number, (cost, score) in enumerate(points):
        better = [
            other
            for other, (c, s) in enumerate(points)
            if c <= cost and s >= score and ((c, s) != (cost, score) or other < number)
        ]
        assert (number in front) == (not better)


def test_trials_without_a_score_or_the_cost_are_left_out() -> None:
    trials = [Trial(0, (0,), "failed", costs={"bytes": 1.0}), Trial(1, (1,), "done", 0.5)]
    assert pareto_front(trials, "bytes") == ()
