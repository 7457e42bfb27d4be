"""A search for a front: each trial has a budget of its own, and milp's lose the least there."""

import dataclasses
import itertools

import numpy as np
import pytest

from pocketkube.search.facts import front_of, search_facts
from pocketkube.search.front import at_part, at_trial
from pocketkube.search.problem import Front, Limit, Problem
from pocketkube.search.projection import project
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial import Trial
from tests.search.synthetic import Synthetic, synthetic

SAMPLERS = ["milp", "nsga2", "motpe", "random", "uniform"]


def with_front(search: Synthetic) -> Synthetic:
    """The same between 0.2 and 0.7 of the whole network's cost, with a target of 0.4."""
    problem = search.problem
    whole = problem.cost(problem.space.sizes - 1)
    limit, front = Limit(problem.limit.cost, 0.7 * whole), Front(0.2 * whole, 0.4 * whole)
    return dataclasses.replace(search, problem=dataclasses.replace(problem, limit=limit, front=front))


def searched(name: str, search: Synthetic, trials: int, seed: int = 0) -> list[Trial]:
    past: list[Trial] = []
    for number in range(trials):
        (choice,) = sampler_named(name).ask(search.problem, past, 1, seed=seed).choices
        costs = search.problem.all_costs(choice)
        past.append(Trial(number, choice, "done", search.score(choice), costs))
    return past


def hypervolume(problem: Problem, trials: list[Trial]) -> float:
    """The mean over a thousand budgets of the best score within each; 0.5 where there is none."""
    assert problem.front is not None
    costs = np.array([trial.costs[problem.limit.cost] for trial in trials])
    scores = np.array([trial.score for trial in trials])
    budgets = np.linspace(problem.front.least, problem.limit.most, 1000)
    return float(np.mean([max([0.5, *scores[costs <= budget]]) for budget in budgets]))


def test_budgets_are_spread_evenly_after_the_target() -> None:
    problem = with_front(synthetic(4)).problem
    assert problem.front is not None
    least, span = problem.front.least, problem.limit.most - problem.front.least
    assert at_trial(problem, 0).limit.most == problem.front.target
    parts = [(at_trial(problem, n).limit.most - least) / span for n in range(1, 10)]
    assert parts[:5] == pytest.approx([1, 0, 0.5, 0.25, 0.75])
    assert sorted(parts) == pytest.approx(np.linspace(0, 1, 9))


def test_a_point_of_each_budget_is_within_it() -> None:
    problem = with_front(synthetic(6)).problem
    rng = np.random.default_rng(0)
    for part in np.linspace(0, 1, 11):
        level = at_part(problem, part)
        fresh = dataclasses.replace(problem, limit=level.limit, front=None)
        found = project(level, point := rng.random(6))
        assert found == project(fresh, point)
        assert found.cost <= level.limit.most


@pytest.mark.parametrize("name", SAMPLERS)
def test_trials_are_new_within_the_range_and_the_same_again(name: str) -> None:
    search = with_front(synthetic(6, noise=0.002))
    trials = searched(name, search, 20)
    problem = search.problem
    assert len({trial.choice for trial in trials}) == 20
    costs = problem.costs(np.array([trial.choice for trial in trials]))
    assert (costs <= problem.limit.most).all()
    assert problem.front is not None
    assert costs[0] <= problem.front.target
    assert searched(name, search, 20) == trials


def test_milp_finds_the_front_of_the_foreseen_losses() -> None:
    search = with_front(synthetic(4))
    problem = search.problem
    every = np.array(list(itertools.product(*map(range, problem.space.sizes))))
    costs = problem.costs(every)
    losses = np.array([[problem.losses[p][level] for p, level in enumerate(c)] for c in every]).sum(1)
    for number, trial in enumerate(searched("milp", search, 9)):
        within = costs <= at_trial(problem, number).limit.most
        lost = sum(problem.losses[p][level] for p, level in enumerate(trial.choice))
        assert lost == pytest.approx(losses[within].min(), rel=1e-5)


def test_the_front_is_what_none_beats_and_the_best_meets_the_target() -> None:
    search = with_front(synthetic(6, noise=0.01))
    trials, cost = searched("random", search, 30), search.problem.limit.cost
    beaten = {
        one.number
        for one, two in itertools.permutations(trials, 2)
        if two.costs[cost] <= one.costs[cost] and two.score > one.score  # type: ignore[operator]
    }
    assert {*front_of(trials, cost)} == {trial.number for trial in trials} - beaten
    facts = search_facts(
        search.problem, trials, sampler="random", seed=0, score_name="a", whole_score=1.0, seconds=1.0
    )
    within = [trial for trial in trials if trial.costs[cost] <= facts.most]
    assert facts.best_trial.score == max(trial.score for trial in within if trial.score is not None)
    assert [trial.number for trial in facts.front_trials] == [*front_of(trials, cost)]
    assert Problem.from_setting(search.problem.to_setting()).front == search.problem.front


@pytest.mark.parametrize("name", ["milp", "nsga2", "motpe"])
def test_its_front_is_above_that_of_random_search(name: str) -> None:
    found = []
    for seed in range(3):
        search = with_front(synthetic(8, seed=seed, blur=0.5, coupling=0.3, noise=0.002))
        found.append(
            [hypervolume(search.problem, searched(n, search, 24, seed)) for n in (name, "random")]
        )
    ours, by_chance = np.mean(found, axis=0)
    assert ours > by_chance + 0.02
