import dataclasses
import itertools

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.search.milp import solve
from pocketkube.search.problem import Limit, Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Sampler
from pocketkube.search.samplers import SAMPLERS, sampler_named
from pocketkube.search.samplers.history import history_of
from pocketkube.search.samplers.untried import untried
from pocketkube.search.trial import State, Trial
from tests.search.synthetic import Synthetic, synthetic

LEARNING = ["milp", "tpe", "gp", "cmaes"]
OURS = [*LEARNING, "random", "uniform"]
SEARCH = synthetic(6, part=0.45, coupling=0.3, noise=0.002, blur=0.5)


def searched(sampler: Sampler, search: Synthetic, trials: int, *, seed: int = 0) -> list[Trial]:
    """A search where one trial follows the other, and every seventh fails."""
    past: list[Trial] = []
    state = ""
    for number in range(trials):
        asked = sampler.ask(search.problem, past, 1, seed=seed, state=state)
        (choice,), state = asked.choices, asked.state
        trial = Trial(number, choice, "done", search.score(choice), sampler=asked.samplers[0])
        if number % 7 == 5:
            trial = dataclasses.replace(trial, state="failed", score=None)
        past.append(trial)
    return past


@pytest.mark.parametrize("name", OURS)
def test_all_that_is_proposed_is_new_and_within_the_limit(name: str) -> None:
    problem = SEARCH.problem
    choices = [trial.choice for trial in searched(sampler_named(name), SEARCH, 24)]
    assert len(set(choices)) == len(choices)
    assert (problem.costs(np.array(choices)) <= problem.limit.most).all()


@pytest.mark.parametrize("name", OURS)
def test_equal_questions_have_equal_answers(name: str) -> None:
    past = searched(sampler_named("random"), SEARCH, 16)
    past.append(Trial(16, project(SEARCH.problem, np.ones(6)).choice, "running"))
    asked = sampler_named(name).ask(SEARCH.problem, past, 3, seed=4)
    again = sampler_named(name).ask(SEARCH.problem, past[::-1], 3, seed=4)
    assert asked == again
    assert len({*asked.choices, *(trial.choice for trial in past)}) == 20
    if name != "uniform":
        other = sampler_named(name).ask(SEARCH.problem, past, 3, seed=5)
        assert other.choices != asked.choices


@pytest.mark.parametrize("name", LEARNING)
def test_the_first_trial_is_the_solution_of_the_foreseen_losses(name: str) -> None:
    asked = sampler_named(name).ask(SEARCH.problem, (), 2, seed=0)
    assert asked.choices[0] == solve(SEARCH.problem).choice
    assert asked.samplers == ("milp", name)


@pytest.mark.parametrize("name", OURS)
def test_without_losses_it_searches_too(name: str) -> None:
    blind = synthetic(6, part=0.45, with_losses=False)
    assert len({trial.choice for trial in searched(sampler_named(name), blind, 14)}) == 14


@pytest.mark.parametrize("name", OURS)
def test_a_space_can_be_searched_to_its_end(name: str) -> None:
    problem = synthetic(2, part=0.3).problem
    choices = np.array(list(itertools.product(*map(range, problem.space.sizes))))
    within = int((problem.costs(choices) <= problem.limit.most).sum())
    small = Synthetic(problem, problem.losses)
    found = searched(sampler_named(name), small, within + 2)
    assert len({trial.choice for trial in found}) == within


@pytest.mark.parametrize("name", OURS)
def test_one_parameter_can_be_searched(name: str) -> None:
    problem = synthetic(3, tied=3, part=0.5).problem
    found = searched(sampler_named(name), Synthetic(problem, problem.losses), 3)
    assert len({trial.choice for trial in found}) == 3


@pytest.mark.parametrize("name", OURS)
def test_where_nothing_is_cheap_enough_it_proposes_the_cheapest(name: str) -> None:
    problem = synthetic(4, part=0.001).problem
    past = [Trial(number, (0, 0, 0, 0), "done", 0.1) for number in range(3)]
    for trials in ((), past):
        assert sampler_named(name).ask(problem, trials, 1, seed=0).choices == ((0, 0, 0, 0),)


@pytest.mark.parametrize("state", ["failed", "running"])
@pytest.mark.parametrize("name", LEARNING)
def test_trials_without_a_score_alone_do_no_harm(name: str, state: State) -> None:
    rng = np.random.default_rng(0)
    past = [Trial(n, project(SEARCH.problem, rng.random(6)).choice, state) for n in range(12)]
    (choice,) = sampler_named(name).ask(SEARCH.problem, past, 1, seed=0).choices
    assert choice not in {trial.choice for trial in past}


def best(trials: list[Trial]) -> float:
    return max(trial.score for trial in trials if trial.score is not None)


@pytest.mark.parametrize("name", LEARNING)
def test_it_learns_more_than_random_search(name: str) -> None:
    blind = [synthetic(8, seed=seed, part=0.35, with_losses=False) for seed in range(3)]
    found, by_chance = (
        np.mean([best(searched(sampler_named(each), search, 40)) for search in blind])
        for each in (name, "random")
    )
    assert found > by_chance


def test_milp_learns_what_its_losses_leave_out() -> None:
    left = []
    for seed in range(4):
        misled = synthetic(10, part=0.35, blur=1.5, seed=seed)
        optimum = misled.score(solve(misled.problem, misled.true_losses).choice)
        trials = searched(sampler_named("milp"), misled, 30)
        left.append([optimum - misled.score(trials[0].choice), optimum - best(trials)])
    first, last = np.mean(left, axis=0)
    assert last < 0.5 * first


def test_the_history_is_in_order_and_leaves_out_what_is_of_another_space() -> None:
    problem: Problem = synthetic(2).problem
    past = history_of(
        problem,
        [
            Trial(3, (1, 1), "running"),
            Trial(2, (0, 1), "done", float("nan")),
            Trial(1, (0, 2), "done", 0.5),
            Trial(0, (9, 0), "done", 0.9),
            Trial(4, (2, 2), "done", 0.7),
        ],
    )
    assert (past.choices, past.scores) == (((0, 2), (2, 2)), (0.5, 0.7))
    assert (past.failed, past.running, past.best) == (((0, 1),), ((1, 1),), (2, 2))
    narrow = past.narrowed(1)
    assert len(narrow.choices) == 1


def test_an_unknown_name_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(UserError, match="no sampler grid; there are: ddpg, milp, tpe"):
        sampler_named("grid")
    assert {*OURS} < {*SAMPLERS}


class UpAndDown(Problem):
    """A search whose cost rises and falls with the levels, as measured latencies do."""

    is_monotone = False  # type: ignore[assignment]

    def costs(self, choices: np.ndarray, of: object = None) -> np.ndarray:
        return np.array([1.0, 4, 2, 5, 3, 6, 7])[np.asarray(choices, int)].sum(axis=1)


def test_what_takes_the_place_of_a_tried_choice_keeps_to_a_budget_that_is_not_monotone() -> None:
    known = synthetic(5).problem
    problem = UpAndDown(known.space, known.network, Limit("macs", 7.0))
    rng, tried = np.random.default_rng(0), set[tuple[int, ...]]()
    # Six choices are within it: the lowest levels, and those with the fifth level of one parameter.
    for _ in range(40):
        tried.add(untried(problem, project(problem, rng.random(5)).choice, tried, rng))
    assert max(map(problem.cost, tried)) <= problem.limit.most
