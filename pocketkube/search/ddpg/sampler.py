"""Deep deterministic policy gradient as a sampler: an actor walks through the network layer by layer."""

from collections.abc import Sequence

import numpy as np

from pocketkube.search.ddpg.agent import BATCH, Agent, Transitions, agent_from, learn, new_agent
from pocketkube.search.ddpg.foresight import Foresight, foresee
from pocketkube.search.ddpg.walk import Walks, Ways
from pocketkube.search.milp import solve
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project
from pocketkube.search.sampler import Asked
from pocketkube.search.trial import Trial

UPDATES = 100
# Of real trials so many are replayed, half of them the best, half the latest; of imagined ones this many.
REPLAYED, IMAGINED = 96, 32
START_NOISE, END_NOISE, HALF_LIFE = 0.4, 0.05, 20.0


class DDPG:
    name = "ddpg"

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        space = problem.space
        trials = sorted(trials, key=lambda each: each.number)
        rng = np.random.default_rng([seed, len(trials), count])
        done = [each for each in trials if each.state == "done" and each.score is not None]
        choices = np.array([each.choice for each in done], int).reshape(len(done), len(space.sizes))
        scores = np.array([each.score for each in done], float)
        foresight = foresee(problem, choices, scores)
        usual = np.asarray(
            solve(problem) if problem.losses else project(problem, np.full(len(space.sizes), 0.5)), int
        )
        log_odds = np.log(np.clip(space.point(usual), 0.05, 0.95))
        log_odds = log_odds - np.log1p(-np.exp(log_odds))
        hints = _hints(problem, foresight)
        ways = Ways(problem, hints)
        agent = agent_from(state, ways.facts) or new_agent(ways.facts, np.random.default_rng(seed))
        noise = END_NOISE + (START_NOISE - END_NOISE) * 0.5 ** (len(trials) / HALF_LIFE)

        def noisy(spread: float):
            def act(step: int, states: np.ndarray) -> np.ndarray:
                acts = agent.act(states, log_odds[step])
                return acts + spread * np.clip(rng.normal(size=len(acts)), -2, 2)
            return act

        kept = _replayed(choices, scores)
        real = ways.again(choices[kept])
        dreamt = ways.walk(noisy(START_NOISE), IMAGINED)
        steps = _transitions(problem, foresight, real, scores[kept], dreamt, _baseline(scores), log_odds)
        n_real = real.choices.size
        half = BATCH // 2
        pick = rng.integers(n_real, len(steps.actions), (UPDATES, BATCH))
        if n_real:
            pick[:, :half] = rng.integers(0, n_real, (UPDATES, half))
        learn(agent, steps, pick)
        tried = {each.choice for each in trials}
        answers = []
        if not trials:
            answers.append(tuple(map(int, usual)))
            tried.add(answers[0])
        for attempt in range(3):
            if len(answers) >= count: break
            import os
            M=int(os.environ.get('M','2')); W=int(os.environ.get('W','0'))
            found = ways.walk(noisy(noise * 1.5**attempt), M * (count - len(answers)))
            order = np.array([project(problem, space.point(each)) for each in found.choices])
            if len(trials) < W:
                order = np.array([project(problem, rng.random(len(space.sizes))) for each in found.choices])
            if M > 2: order = order[np.argsort(-foresight.scores(order), kind='stable')]
            for each in order:
                choice = tuple(map(int, each))
                if choice not in tried and len(answers) < count:
                    tried.add(choice)
                    answers.append(choice)
        while len(answers) < count:
            answers.append(tuple(map(int, project(problem, rng.random(len(space.sizes))))))
        return Asked(tuple(answers), agent.text())


def _hints(problem, foresight):
    last = problem.space.sizes - 1
    rows = np.arange(len(last))
    two = np.stack([foresight.losses[rows, 0], foresight.losses[rows, last // 2]], axis=1)
    return two / max(np.abs(two).max(), 1e-12)


def _replayed(choices, scores):
    if len(scores) <= REPLAYED:
        return np.arange(len(scores))
    latest = np.arange(len(scores))[-REPLAYED // 2:]
    best = [i for i in np.argsort(-scores, kind="stable") if i < latest[0]][: REPLAYED // 2]
    return np.concatenate([np.sort(best), latest]).astype(int)


def _baseline(scores):
    if not len(scores):
        return 0.0
    b = scores[0]
    for s in scores:
        b += 0.1 * (s - b)
    return float(b)


def _transitions(problem, foresight, real, scores, dreamt, baseline, log_odds):
    n = len(log_odds)
    choices = np.concatenate([real.choices, dreamt.choices])
    all_scores = np.concatenate([scores, foresight.scores(dreamt.choices)])
    scale = max(float(all_scores.std()), 1e-9) 
    rewards = -foresight.each(choices)
    rewards[:, -1] += all_scores - baseline - rewards.sum(axis=1)
    rewards /= scale
    returns = rewards[:, ::-1].cumsum(axis=1)[:, ::-1]
    numbers = np.arange(choices.size).reshape(choices.shape)
    after = np.concatenate([numbers[:, 1:], numbers[:, -1:]], axis=1)
    goes = np.ones(choices.shape); goes[:, -1] = 0
    return Transitions(
        states=np.concatenate([real.states, dreamt.states]).reshape(choices.size, -1),
        usual=np.tile(log_odds, len(choices)),
        actions=problem.space.point(choices).ravel(),
        rewards=rewards.ravel(), returns=returns.ravel(), next=after.ravel(), goes_on=goes.ravel())
