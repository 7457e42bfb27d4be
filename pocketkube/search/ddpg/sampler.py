"""Deep deterministic policy gradient: an actor walks through the network and chooses layer by layer.

After Lillicrap et al., "Continuous control with deep reinforcement learning" (2016), and AMC (He et
al., 2018), which first searched for ratios of channels so. What differs from PocketFlow's: the budget
that is left is part of a state, what is replayed is the choice that was really applied and not the one
that was wished for, and nothing but the trials is needed to go on. What differs from AMC: the reward
comes where it is earned, step by step, from the losses that are foreseen (potential-based shaping, Ng
et al. 1999, which leaves the best walk the best); walks that are only imagined under these losses teach
the two networks as well (Sutton's Dyna, 1991); and of some walks with noise, half of which follow the
best trial for the most part (Ecoffet et al., "First return, then explore", 2021), the one that is
foreseen best is tried.
"""

from collections.abc import Callable, Sequence

import numpy as np

from pocketkube.search.ddpg.agent import BATCH, Transitions, agent_from, learn, log_odds, new_agent
from pocketkube.search.ddpg.foresight import Foresight, foresee
from pocketkube.search.ddpg.walk import Walks, Ways
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers.history import Choice, History, as_rows, history_of
from pocketkube.search.samplers.starting import starting_choice
from pocketkube.search.samplers.untried import untried
from pocketkube.search.trial import Trial

# The actions for the number of a step and the states before it.
Act = Callable[[int, np.ndarray], np.ndarray]

UPDATES = 100
# Steps of real walks that are replayed, and of imagined ones.
REPLAYED, IMAGINED = 2400, 600
# The noise of actions, 0 to 1, at the first trial and in the end, and the trials until it is half-way.
FIRST_NOISE, LAST_NOISE, HALF_LIFE = 0.4, 0.05, 20.0
# So many first trials are random where no losses were measured.
WARM_UP = 12
# Walks for each choice that is asked for, and in all.
CANDIDATES, MOST_CANDIDATES = 8, 48
# Of walks that follow the best trial: how many steps go elsewhere, about, and how far.
MOVES, MOVE = 3.0, 0.3
# How fast the baseline of the reward follows the scores.
BASELINE_RATE = 0.1


class DDPG:
    """See the module. Its state is the weights of actor and critic."""

    name = "ddpg"

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """See `Sampler`.

        A state that is missing or damaged costs what was learnt, but for what the trials teach again.
        """
        past = history_of(problem, trials)
        rng = np.random.default_rng([seed, past.count])
        choices = as_rows(past.choices, len(problem.space.sizes))
        foresight = foresee(problem, choices, np.array(past.scores))
        first = _first(problem, past, count)
        usual = first[0][0] if not past.count else _usual(problem, past)
        ways = Ways(problem, _hints(problem, foresight))
        agent = agent_from(state, ways.facts) or new_agent(ways.facts, np.random.default_rng(seed))
        odds = log_odds(problem.space.point(np.array(usual)))

        def noisy(spread: float) -> Act:
            def act(step: int, states: np.ndarray) -> np.ndarray:
                noise = np.clip(rng.normal(size=len(states)), -2, 2)
                return agent.act(states, odds[step]) + spread * noise

            return act

        replayed = _replayed(past, choices.shape[1])
        imagined = ways.walk(noisy(FIRST_NOISE), max(IMAGINED // choices.shape[1], 4))
        steps = _transitions(
            problem, foresight, past, odds, ways.again(choices[replayed]), replayed, imagined
        )
        learn(agent, steps, _batches(choices[replayed].size, len(steps.actions), rng))

        found = [choice for choice, _ in first]
        if not problem.losses and 0 < past.count < WARM_UP:
            more = range(count - len(found))
            found += [project(problem, rng.random(len(odds))).choice for _ in more]
        if len(found) < count:
            walks = min(CANDIDATES * (count - len(found)), max(MOST_CANDIDATES, count))
            act = noisy(_noise(past.count))
            if past.best is not None:
                act = _half_follows(act, problem.space.point(np.array(past.best)), rng)
            found += _best(problem, foresight, ways.walk(act, walks), past, found)
        answers: list[Choice] = []
        for wanted in found[:count]:
            answers.append(untried(problem, wanted, past.tried.union(answers), rng))
        names = (*(name for _, name in first), *[self.name] * count)
        return Asked(tuple(answers), agent.text(), samplers=names[:count])


def _first(problem: Problem, past: History, count: int) -> list[tuple[Choice, str]]:
    """What comes before all walks, at most so many, and what its sampler is called."""
    found: list[tuple[Choice, str]] = []
    while len(found) < count and (first := starting_choice(problem, past)) is not None:
        found.append(first)
        past = past.with_running(first[0])
    if not found and not past.count:
        found.append((_usual(problem, past), DDPG.name))
    return found


def _usual(problem: Problem, past: History) -> Choice:
    """What an actor that has learnt nothing does: the solution of the measured losses.

    It was the first trial, and is among the trials the one that loses least by what was measured: so it
    need not be solved again.
    """
    if not problem.losses:
        return project(problem, np.full(len(problem.space.sizes), 0.5)).choice
    return min(
        sorted(past.tried),
        key=lambda choice: sum(
            losses[level] for losses, level in zip(problem.losses, choice, strict=True)
        ),
    )


def _half_follows(act: Act, best: np.ndarray, rng: np.random.Generator) -> Act:
    """Half of the walks go where the best trial went, but for a few steps.

    Args:
        act: The actions of the others.
        best: The actions of the best trial, `[parameters]`.
        rng: Which steps differ, and how far.
    """

    def half(step: int, states: np.ndarray) -> np.ndarray:
        acts = act(step, states)
        few = len(acts) // 2
        moves = rng.random(few) < MOVES / len(best)
        acts[:few] = best[step] + moves * MOVE * rng.normal(size=few)
        return acts

    return half


def _hints(problem: Problem, foresight: Foresight) -> np.ndarray:
    """The foreseen losses of each parameter's cheapest level and of half-way, `[parameters, 2]`."""
    last = problem.space.sizes - 1
    hints = np.stack([foresight.each(np.zeros_like(last)), foresight.each(last // 2)], axis=1)
    return hints / max(float(np.abs(hints).max()), 1e-12)


def _noise(trials: int) -> float:
    return LAST_NOISE + (FIRST_NOISE - LAST_NOISE) * 0.5 ** (trials / HALF_LIFE)


def _replayed(past: History, steps: int) -> np.ndarray:
    """The numbers of the trials that are replayed: the latest, and the best of those before."""
    most = max(REPLAYED // steps, 2)
    numbers = np.arange(len(past.scores))
    if len(numbers) <= most:
        return numbers
    latest, before = numbers[-most // 2 :], numbers[: -most // 2]
    best = before[np.argsort(-np.array(past.scores)[before], kind="stable")]
    return np.concatenate([np.sort(best[: most - len(latest)]), latest])


def _transitions(
    problem: Problem,
    foresight: Foresight,
    past: History,
    odds: np.ndarray,
    real: Walks,
    replayed: np.ndarray,
    imagined: Walks,
) -> Transitions:
    """The steps of all walks, the real ones first.

    A step's reward is less what it is foreseen to lose; the last one's makes all of a walk's the score
    less the baseline.
    """
    choices = np.concatenate([real.choices, imagined.choices])
    scores = np.concatenate([np.array(past.scores)[replayed], foresight.scores(imagined.choices)])
    rewards = -foresight.each(choices)
    rewards[:, -1] += scores - _baseline(past.scores) - rewards.sum(axis=1)
    rewards /= max(float(scores.std()), 1e-9)
    numbers = np.arange(choices.size).reshape(choices.shape)
    goes_on = np.ones(choices.shape)
    goes_on[:, -1] = 0.0
    return Transitions(
        states=np.concatenate([real.states, imagined.states]).reshape(choices.size, -1),
        usual=np.tile(odds, len(choices)),
        actions=problem.space.point(choices).ravel(),
        rewards=rewards.ravel(),
        returns=rewards[:, ::-1].cumsum(axis=1)[:, ::-1].ravel(),
        next=np.concatenate([numbers[:, 1:], numbers[:, -1:]], axis=1).ravel(),
        goes_on=goes_on.ravel(),
    )


def _baseline(scores: Sequence[float]) -> float:
    """A moving average of the scores."""
    baseline = scores[0] if scores else 0.0
    for score in scores:
        baseline += BASELINE_RATE * (score - baseline)
    return baseline


def _batches(real: int, steps: int, rng: np.random.Generator) -> np.ndarray:
    """The steps of each update, `[updates, batch]`; half of them real, where there are such."""
    batches = rng.integers(real, steps, (UPDATES, BATCH))
    if real:
        batches[:, : BATCH // 2] = rng.integers(0, real, (UPDATES, BATCH // 2))
    return batches


def _best(
    problem: Problem, foresight: Foresight, walks: Walks, past: History, others: Sequence[Choice]
) -> list[Choice]:
    """Where walks end under the budget, those that are new and foreseen best first."""
    ends = [project(problem, point).choice for point in problem.space.point(walks.choices)]
    tried = past.tried.union(others)
    new = dict.fromkeys(end for end in ends if end not in tried)
    ordered = sorted(new, key=lambda end: -float(foresight.scores(np.array(end))))
    return [*ordered, *(end for end in ends if end in tried), *ordered][: len(ends)]
