"""DDPG on searches whose best answer is known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pocketkube.search.ddpg import DDPG
from pocketkube.search.milp import solve
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial import Trial
from tests.search.synthetic import Synthetic, synthetic


def searched(
    sampler: object, search: Synthetic, trials: int, seed: int, parallel: int = 4
) -> list[Trial]:
    """The trials of a whole search."""
    done: list[Trial] = []
    state = ""
    while len(done) < trials:
        count = min(parallel, trials - len(done))
        asked = sampler.ask(search.problem, done, count, seed=seed, state=state)  # type: ignore[attr-defined]
        state = asked.state
        done += [
            Trial(len(done) + place, choice, "done", search.score(choice))
            for place, choice in enumerate(asked.choices)
        ]
    return done


def best(trials: Sequence[Trial]) -> float:
    return max(trial.score for trial in trials if trial.score is not None)


def tried_at_random(problem: Problem, count: int) -> list[Trial]:
    rng = np.random.default_rng(5)
    return [
        Trial(
            number, project(problem, rng.random(len(problem.space.sizes))).choice, "done", rng.random()
        )
        for number in range(count)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("with_losses", [True, False])
def test_it_beats_random_search_and_comes_near_the_optimum(with_losses: bool) -> None:
    gained, random_gained, parts = [], [], []
    for seed in range(10):
        search = synthetic(10, seed=seed, part=0.4, blur=0.5, with_losses=with_losses)
        optimum = search.score(solve(search.problem, search.true_losses).choice)
        start = search.score(project(search.problem, np.full(10, 0.5)).choice)
        found = best(searched(DDPG(), search, 100, seed))
        at_random = best(searched(sampler_named("random"), search, 100, seed))
        gained.append((found - start) / (optimum - start))
        random_gained.append((at_random - start) / (optimum - start))
        parts.append(found / optimum)
    beaten = sum(one > other for one, other in zip(gained, random_gained, strict=True))
    assert beaten >= 9
    # Of the score, and, which is harder, of what the optimum gains over the same part of all layers.
    assert min(parts) >= 0.95
    assert np.mean(gained) >= (0.95 if with_losses else 0.9)
    assert np.mean(gained) > np.mean(random_gained) + 0.1


def test_it_beats_random_search_at_few_trials() -> None:
    search = synthetic(8, seed=3, part=0.4, blur=0.5)
    assert best(searched(DDPG(), search, 12, 0)) > best(
        searched(sampler_named("random"), search, 40, 0)
    )


def test_the_first_trial_is_the_solution_of_the_foreseen_losses() -> None:
    problem = synthetic(6, seed=1).problem
    asked = DDPG().ask(problem, [], 2, seed=0)
    assert asked.choices[0] == solve(problem).choice
    assert asked.samplers == ("milp", "ddpg")


@pytest.mark.parametrize("decides", [("kept",), ("bits",), ("kept", "sparsity", "bits")])
@pytest.mark.parametrize("with_losses", [True, False])
def test_all_answers_are_new_and_within_the_budget(decides: tuple[str, ...], with_losses: bool) -> None:
    cost = "mean_bits" if decides == ("bits",) else "bytes"
    problem = synthetic(
        5, seed=2, part=0.6, cost=cost, decides=decides, with_losses=with_losses
    ).problem
    trials = tried_at_random(problem, 20)
    choices = DDPG().ask(problem, trials, 7, seed=0).choices
    assert len({*choices, *(trial.choice for trial in trials)}) == 7 + len(
        {trial.choice for trial in trials}
    )
    assert (problem.costs(np.array(choices)) <= problem.limit.most).all()


def test_equal_questions_have_equal_answers_whatever_the_order() -> None:
    problem = synthetic(6, seed=1).problem
    trials = tried_at_random(problem, 15)
    state = DDPG().ask(problem, trials[:10], 2, seed=4).state
    one = DDPG().ask(problem, trials, 3, seed=4, state=state)
    assert one == DDPG().ask(problem, trials[::-1], 3, seed=4, state=state)
    assert one != DDPG().ask(problem, trials, 3, seed=5, state=state)


def test_the_state_is_small_plain_text_that_changes_answers() -> None:
    problem = synthetic(6, seed=1).problem
    trials = tried_at_random(problem, 15)
    asked = DDPG().ask(problem, trials, 3, seed=4)
    assert asked.state.isascii()
    assert len(asked.state) < 16_000
    assert not set(asked.state) & set(" \n\"'")
    assert DDPG().ask(problem, trials, 3, seed=4, state=asked.state).state != asked.state


@pytest.mark.parametrize("state", ["", "no base64!", "eJwDAAAAAAE=", "QUJD"])
def test_a_lost_or_damaged_state_is_made_anew_from_the_trials(state: str) -> None:
    problem = synthetic(6, seed=1).problem
    trials = tried_at_random(problem, 15)
    assert DDPG().ask(problem, trials, 3, seed=4, state=state) == DDPG().ask(problem, trials, 3, seed=4)


def test_a_state_of_another_search_is_not_taken() -> None:
    kept, bits = synthetic(6, seed=1).problem, synthetic(6, cost="mean_bits", decides=("bits",)).problem
    state = DDPG().ask(bits, tried_at_random(bits, 5), 1, seed=0).state
    assert len(DDPG().ask(kept, tried_at_random(kept, 5), 2, seed=0, state=state).choices) == 2


def test_running_and_failed_trials_are_not_asked_for_again() -> None:
    problem = synthetic(4, seed=1, part=0.4).problem
    trials = [
        Trial(number, each.choice, ("running", "failed", "done")[number % 3], each.score)
        for number, each in enumerate(tried_at_random(problem, 30))
    ]
    trials = [each if each.state == "done" else replace(each, score=None) for each in trials]
    choices = DDPG().ask(problem, trials, 6, seed=0).choices
    assert not {*choices} & {trial.choice for trial in trials}


def test_where_nothing_reaches_the_budget_the_cheapest_is_the_answer() -> None:
    problem = synthetic(4, seed=1, part=0.001).problem
    assert DDPG().ask(problem, [], 1, seed=0).choices == ((0, 0, 0, 0),)


def test_more_than_one_answer_where_only_one_is_left() -> None:
    problem = synthetic(3, seed=1, part=0.001).problem
    trials = [Trial(0, (0, 0, 0), "done", 0.5)]
    assert len(DDPG().ask(problem, trials, 4, seed=0).choices) == 4


def test_scores_that_are_all_equal_are_no_trouble() -> None:
    problem = synthetic(5, seed=1, with_losses=False).problem
    trials = [replace(each, score=0.5) for each in tried_at_random(problem, 20)]
    asked = DDPG().ask(problem, trials, 2, seed=0)
    assert DDPG().ask(problem, trials, 2, seed=0, state=asked.state).state
