"""The trial that a search calls the best is the one that the tables of its report put first."""

import dataclasses
import re

from pocketkube.measures import wording_of
from pocketkube.report.best_so_far import curve_of, curves_figure
from pocketkube.report.comparison import comparison_markdown, comparison_page, comparison_svg
from pocketkube.report.search import search_parts
from pocketkube.search.comparison import ComparisonFacts, run_facts
from pocketkube.search.facts import SearchFacts, TrialFacts, search_facts
from pocketkube.search.problem import Front, Limit, Problem
from pocketkube.search.trial import Trial
from tests.search.synthetic import synthetic


def facts_of(problem: Problem, scores: dict[tuple[int, ...], float]) -> SearchFacts:
    trials = [
        Trial(number, choice, "done", score, problem.all_costs(choice), 1.0, "milp")
        for number, (choice, score) in enumerate(scores.items())
    ]
    named = {"sampler": "milp", "seed": 0, "score_name": "accuracy", "whole_score": 0.95}
    return search_facts(problem, trials, seconds=1.0, **named)  # type: ignore[arg-type]


def page_of(facts: SearchFacts) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", " ".join(search_parts(facts))))


def losing(problem: Problem, *losses: float) -> Problem:
    """Of one parameter, with such losses from its cheapest level on."""
    return dataclasses.replace(problem, losses=((*losses, *[0.0] * 99)[: problem.space.sizes[0]],))


# The dearer one of two with the same score, which less is foreseen to be lost for.
SAME_SCORE = {(0,): 0.90, (1,): 0.90}


def test_of_one_score_the_table_begins_with_what_is_called_the_best() -> None:
    facts = facts_of(losing(synthetic(1).problem, 0.2, 0.1), SAME_SCORE)
    page = page_of(facts)
    assert "Trial 2 was the best" in page
    assert re.search(r"The best 2 trials .*proposed by 2 90.00 % 0.1 .* milp 1 90.00 % 0.2 ", page)
    # Files of before trials had foreseen losses of their own.
    older = facts.model_copy(
        update={"trials": tuple(t.model_copy(update={"foreseen_loss": None}) for t in facts.trials)}
    )
    assert re.search(r"The best 2 trials .*proposed by 2 90.00 % .* milp 1 90.00 % ", page_of(older))


def test_the_best_of_a_front_is_one_of_its_points() -> None:
    problem = losing(synthetic(1).problem, 0.2, 0.1)
    costs = [problem.cost([level]) for level in range(3)]
    front = Front(costs[0], costs[1])
    problem = dataclasses.replace(problem, limit=Limit("macs", costs[2]), front=front)
    facts = facts_of(problem, SAME_SCORE | {(2,): 0.94})
    page = page_of(facts)
    assert [trial.number for trial in facts.front_trials] == [0, 2]
    assert "Trial 1 was the best for the target" in page
    assert re.search(r"The best 3 trials .*proposed by 3 94.00 % .* milp 1 90.00 % .* 2 90.00 % ", page)


def test_a_curve_begins_at_the_first_trial_that_has_a_score() -> None:
    failed = TrialFacts(
        number=0, state="failed", score=None, costs={}, seconds=0.0, sampler="milp", values={}
    )
    facts = facts_of(synthetic(1).problem, SAME_SCORE | {(2,): 0.94})
    facts = facts.model_copy(update={"trials": (failed, *facts.trials)})
    curve = curve_of("milp", facts.best_scores, wording_of("accuracy"))
    assert curve.points == ((2, 0.9), (3, 0.9), (4, 0.94))
    assert "accuracy after 4 trials" in curves_figure("Best", [curve], wording_of("accuracy"))


def test_samplers_are_compared_from_where_all_seeds_have_a_score() -> None:
    problem = synthetic(1).problem
    failed, done = Trial(0, (0,), "failed"), Trial(1, (1,), "done", 0.5)
    runs = tuple(
        run_facts(problem, "tpe", seed, [first, done])
        for seed, first in enumerate((failed, Trial(0, (0,), "done", 0.7)))
    )
    found = ComparisonFacts(
        cost="macs",
        most=1.0,
        trials=2,
        score_name="accuracy",
        whole_score=None,
        runs=runs,
        evaluated=2,
        seconds=1.0,
    )
    assert ComparisonFacts.model_validate_json(found.model_dump_json()) == found
    assert "| tpe | – | 60.00 % (50.00 % to 70.00 %) |" in comparison_markdown(found)
    for page in (comparison_page(found), comparison_svg(found)):
        assert "nan" not in page
