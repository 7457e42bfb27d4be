"""A search as walks through the network: one parameter a step, within what the budget leaves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pocketkube.search.ddpg.layers import layer_facts
from pocketkube.search.problem import Problem

# Saved, still to save, left of the budget in all and for each parameter ahead, the action before.
_MOVING = 5


@dataclass(frozen=True)
class Walks:
    """Walks from the first parameter to the last.

    Attributes:
        choices: The level that was chosen at each step, `[walks, parameters]`.
        states: What was known before each step, `[walks, parameters, facts]`.
    """

    choices: np.ndarray
    states: np.ndarray


class Ways:
    """All walks of a problem.

    Attributes:
        facts: How many numbers a state has.
    """

    def __init__(self, problem: Problem, losses: np.ndarray) -> None:
        """Works out what does not depend on a walk.

        Args:
            problem: The search.
            losses: The foreseen loss of each parameter at its cheapest level and half-way, at most 1:
                `[parameters, 2]`.
        """
        self._problem = problem
        self._last = problem.space.sizes - 1
        self._fixed = np.concatenate([layer_facts(problem), losses], axis=1)
        self._least, self._whole = problem.costs(np.stack([np.zeros_like(self._last), self._last]))
        self._most = max(problem.limit.most, self._least)
        self.facts = self._fixed.shape[1] + _MOVING

    def again(self, choices: np.ndarray) -> Walks:
        """The walks that lead to choices, `[walks, parameters]`."""
        walks, steps = choices.shape
        if not walks:
            return Walks(choices, np.empty((0, steps, self.facts)))
        behind = np.tri(steps, steps, -1, dtype=bool)
        paths = np.where(behind, choices[:, None], 0).reshape(-1, steps)
        least = self._problem.costs(paths).reshape(walks, steps)
        paths = np.where(behind, choices[:, None], self._last).reshape(-1, steps)
        whole = self._problem.costs(paths).reshape(walks, steps)
        points = self._problem.space.point(choices)
        before = np.concatenate([np.ones((walks, 1)), points[:, :-1]], axis=1)
        moving = self._moving(least, whole, before)
        fixed = np.broadcast_to(self._fixed, (walks, *self._fixed.shape))
        return Walks(choices, np.concatenate([fixed, moving], axis=2))

    def walk(self, act: Callable[[int, np.ndarray], np.ndarray], walks: int) -> Walks:
        """Goes new ways.

        Args:
            act: The actions for the number of a step and the states before it, `[walks, facts]`: places
                from 0, the parameter's cheapest level, to 1, its dearest. Of an action that the rest of
                the network could not make good any more, the dearest level that it can is taken.
            walks: How many.
        """
        steps = len(self._last)
        low = np.zeros((walks, steps), int)
        high = np.repeat(self._last[None], walks, axis=0)
        least, whole = np.full(walks, self._least), np.full(walks, self._whole)
        before = np.ones(walks)
        states = np.empty((walks, steps, self.facts))
        for step, last in enumerate(self._last):
            fixed = np.broadcast_to(self._fixed[step], (walks, self._fixed.shape[1]))
            states[:, step] = np.concatenate([fixed, self._moving(least, whole, before)], axis=1)
            level = np.rint(np.clip(act(step, states[:, step]), 0.0, 1.0) * last).astype(int)
            low[:, step] = high[:, step] = level
            least, whole = np.split(self._problem.costs(np.concatenate([low, high])), 2)
            over = np.flatnonzero(least > self._most)
            if len(over):
                low[over, step] = high[over, step] = self._dearest(low[over], step)
                costs = self._problem.costs(np.concatenate([low[over], high[over]]))
                least[over], whole[over] = np.split(costs, 2)
            before = low[:, step] / max(last, 1)
        return Walks(low, states)

    def _dearest(self, paths: np.ndarray, step: int) -> np.ndarray:
        """The dearest level of a step from which the budget can still be kept."""
        levels = np.arange(self._last[step] + 1)
        rows = np.repeat(paths, len(levels), axis=0)
        rows[:, step] = np.tile(levels, len(paths))
        fits = self._problem.costs(rows).reshape(len(paths), -1) <= self._most
        return np.where(fits, levels, 0).max(axis=1)

    def _moving(self, least: np.ndarray, whole: np.ndarray, before: np.ndarray) -> np.ndarray:
        span = max(self._whole - self._least, 1e-12)
        ahead = np.maximum(whole - least, 1e-12)
        return np.stack(
            [
                (self._whole - whole) / span,
                np.maximum(whole - self._most, 0.0) / span,
                (self._most - least) / span,
                np.clip((self._most - least) / ahead, 0.0, 1.0),
                before,
            ],
            axis=-1,
        )
