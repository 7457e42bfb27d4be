"""From what Katib says to what it is to try next; no gRPC in here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pocketkube.errors import UserError
from pocketkube.search.applied import applied_choice
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers import sampler_named
from pocketkube.search.samplers.history import Choice
from pocketkube.search.suggestion.request import Experiment, KatibTrial
from pocketkube.search.trial import Trial, number_of

# Algorithms as KatibConfig names them, and the sampler of each.
ALGORITHMS: Mapping[str, str] = {f"pocketkube-{name}": name for name in ("ddpg", "tpe", "milp")}
# Settings: the search compressed (`Problem.to_setting`), the seed, what an answer wants to see again.
PROBLEM, SEED, STATE = "problem", "seed", "state"
# How a trial reports the value that a parameter really had under the budget.
APPLIED = "applied."
# The largest that a spec takes.
MOST_SEED = 2**53


@dataclass(frozen=True)
class Suggested:
    """What to try next.

    Attributes:
        assignments: The text of each parameter, in the experiment's order, for each trial.
        state: What the algorithm wants to see again; empty for nothing.
    """

    assignments: tuple[dict[str, str], ...]
    state: str = ""


@dataclass(frozen=True)
class Search:
    """What an experiment searches, and how.

    Attributes:
        problem: The search.
        sampler: The name of its sampler.
        seed: Of the experiment.
    """

    problem: Problem
    sampler: str
    seed: int


def search_of(experiment: Experiment) -> Search:
    """Sees whether an experiment can be answered.

    Raises:
        UserError: If not; the text begins with the setting or parameter that is wrong.
    """
    sampler = ALGORITHMS.get(experiment.algorithm)
    if sampler is None:
        raise UserError(
            f"algorithm {experiment.algorithm}: this service has {', '.join(ALGORITHMS)} alone"
        )
    for name in experiment.settings:
        if name not in (PROBLEM, SEED, STATE):
            raise UserError(
                f"setting {name}: there is no such setting; {experiment.algorithm} has {PROBLEM} and "
                f"{SEED}"
            )
    seed = _seed(experiment.settings.get(SEED, "0"))
    if PROBLEM not in experiment.settings:
        raise UserError(
            f"setting {PROBLEM}: it is missing; it is the search compressed, as PocketKube writes it "
            "into the Experiments that it makes"
        )
    try:
        problem = _problem(experiment.settings[PROBLEM])
    except UserError as error:
        raise UserError(f"setting {PROBLEM}: {error}") from None
    if sampler == "milp" and not problem.losses:
        raise UserError(f"setting {PROBLEM}: it has no losses, and {experiment.algorithm} needs them")
    least = project(problem, np.zeros(len(problem.space.sizes)))
    if not least.fits:
        raise UserError(
            f"setting {PROBLEM}: the limit of {problem.limit.most:.6g} {problem.limit.cost} cannot be "
            f"kept; the least that can be reached is {least.cost:.6g}"
        )
    _check_parameters(experiment, problem)
    return Search(problem, sampler, seed)


def suggest(
    experiment: Experiment, search: Search, trials: Sequence[KatibTrial], count: int
) -> Suggested:
    """What an experiment's algorithm tries next.

    Args:
        experiment: The experiment.
        search: What `search_of` found of it.
        trials: All so far.
        count: How many are asked for.
    """
    known = _trials(experiment, search.problem, trials)
    state = experiment.settings.get(STATE, "")
    asked = sampler_named(search.sampler).ask(
        search.problem, known, count, seed=search.seed, state=state
    )
    return _suggested(experiment, search.problem, asked)


def suggest_at_random(experiment: Experiment, trials: Sequence[KatibTrial], count: int) -> Suggested:
    """Assignments that need no algorithm, and no problem where that cannot be read.

    What goes wrong in an algorithm would be asked again for ever, and never fail the experiment: trials
    project onto the budget themselves, so that any feasible value is a trial that is worth something.

    Args:
        experiment: The experiment.
        trials: All so far.
        count: How many are asked for.
    """
    rng = np.random.default_rng(len(trials))
    try:
        problem = search_of(experiment).problem
        choices = tuple(
            project(problem, rng.random(len(problem.space.sizes))).choice for _ in range(count)
        )
        return _suggested(experiment, problem, Asked(choices))
    except Exception:  # Whatever it is, the caller has told of it.
        drawn = ({each.name: each.drawn(rng) for each in experiment.parameters} for _ in range(count))
        return Suggested(tuple(drawn))


def _suggested(experiment: Experiment, problem: Problem, asked: Asked) -> Suggested:
    values = [problem.space.values(np.array(choice)) for choice in asked.choices]
    return Suggested(
        tuple(
            {each.name: each.text(value[each.name]) for each in experiment.parameters}
            for value in values
        ),
        asked.state,
    )


# An experiment's problem is the same at every request.
@lru_cache(maxsize=4)
def _problem(setting: str) -> Problem:
    return Problem.from_setting(setting)


# Half a thousand projections take a second, and the history comes with every request. No answer depends
# on what is remembered.
@lru_cache(maxsize=4)
def _projections(setting: str) -> dict[Choice, Choice]:
    return {}


def _seed(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= MOST_SEED):
        raise UserError(
            f"setting {SEED}: it has to be a whole number from 0 to {MOST_SEED}; received {text!r:.40}"
        )
    return int(text)


def _check_parameters(experiment: Experiment, problem: Problem) -> None:
    """Sees whether every level of every parameter is feasible."""
    named, known = [each.name for each in experiment.parameters], set(problem.space.names)
    for name in named:
        if name not in known:
            raise UserError(f"parameter {name}: the search of setting {PROBLEM} has no such parameter")
        if named.count(name) > 1:
            raise UserError(f"parameter {name}: it is there twice")
    by_name = {each.name: each for each in experiment.parameters}
    for parameter in problem.space.parameters:
        if parameter.name not in by_name:
            raise UserError(
                f"parameter {parameter.name}: the search of setting {PROBLEM} has it, and the "
                "experiment has not"
            )
        space = by_name[parameter.name]
        for level in parameter.levels:
            if not space.takes(level):
                raise UserError(
                    f"parameter {parameter.name}: the search may choose {level:g}, which is not in its "
                    f"feasible space from {space.least:g} to {space.greatest:g}"
                    + (f" in steps of {space.step:g}" if space.step else "")
                )


def _trials(experiment: Experiment, problem: Problem, trials: Sequence[KatibTrial]) -> list[Trial]:
    """Katib's trials as the search's own, in the order in which they started."""
    found: list[Trial] = []
    projected = _projections(experiment.settings[PROBLEM])
    for each in sorted(trials, key=lambda trial: (trial.started or "~", trial.name)):
        choice = _choice(problem, each, projected)
        if choice is None:
            continue
        score = number_of(each.metrics.get(experiment.objective, ""))
        if each.is_running:
            found.append(Trial(len(found), choice))
        elif each.is_measured and score is not None:
            found.append(Trial(len(found), choice, "done", experiment.sign * score))
        else:
            found.append(Trial(len(found), choice, "failed"))
    return found


def _choice(problem: Problem, trial: KatibTrial, projected: dict[Choice, Choice]) -> Choice | None:
    """What a trial applied: as it reported, else what it makes of what it was told."""
    applied = _values({name: f"{APPLIED}{name}" for name in problem.space.names}, trial.metrics)
    if applied is not None:
        return tuple(problem.space.choice(applied).tolist())
    told = _values({name: name for name in problem.space.names}, trial.assignment)
    if told is None:
        return None
    choice = tuple(problem.space.choice(told).tolist())
    if choice not in projected:
        projected[choice] = applied_choice(problem, choice, as_given=True)
    return projected[choice]


def _values(keys: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, float] | None:
    """The number of each parameter; None where one is missing or none."""
    found = {}
    for name, key in keys.items():
        value = number_of(texts.get(key, ""))
        if value is None:
            return None
        found[name] = value
    return found
