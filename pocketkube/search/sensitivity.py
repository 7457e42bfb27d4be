"""Measures what each decision costs alone, before any trial: what a search foresees of any choice.

Each parameter is set to some of its levels while all others are whole, and the network is judged on
validation examples by how far its outputs are from the uncompressed network's (for classes the mean
Kullback-Leibler divergence). That is 0 where nothing changes, needs no labels and hardly varies with
the examples, where accuracy moves in steps of one example and can rise by chance. Puzzle (Bercovich et
al., 2024) scores its blocks by the same divergence; HALP (Shen et al., 2022) adds up first-order
changes of the loss, HAWQ-V2 (Dong et al., 2020) second-order ones, which know nothing of a fit.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import isotonic_regression

from pocketkube.console.progress import progress
from pocketkube.errors import UserError
from pocketkube.files.appended import AppendedLines
from pocketkube.search.problem import Problem
from pocketkube.search.space import Parameter

# Distances on so many examples rank levels as those on all of them do.
EXAMPLES = 512
# Levels of a parameter that are measured, the whole one aside; what lies between is interpolated.
MEASURED = 4

# From a choice to how far the network's outputs then are from the uncompressed network's.
Distance = Callable[[tuple[int, ...]], float]


@dataclass(frozen=True)
class Alone:
    """One parameter at one of its levels, all others whole.

    Attributes:
        parameter: The parameter's number.
        level: The level's.
    """

    parameter: int
    level: int


def measure_losses(
    problem: Problem, distance: Distance, journal: Path, stamp: str
) -> tuple[tuple[float, ...], ...]:
    """Measures the losses that `Problem.losses` holds.

    Args:
        problem: The search.
        distance: Judges a choice.
        journal: A file in which every measurement is kept, so that one that was interrupted goes on.
        stamp: Of what is measured: a journal with another one is begun anew.

    Returns:
        For each parameter the foreseen loss at each of its levels: 0 where it is whole, and never less
        at a cheaper level than at a dearer one. Where the outputs are no numbers it is the largest loss
        of the parameter, or of all where none of its levels has any.

    Raises:
        UserError: If the outputs are no numbers, whatever the choice.
    """
    sizes = problem.space.sizes
    to_do = [
        Alone(number, level)
        for number, parameter in enumerate(problem.space.parameters)
        for level in measured_levels(parameter)
    ]
    whole = tuple((sizes - 1).tolist())
    with _Journal(journal, stamp) as known, progress("sensitivity", len(to_do) + 1, "trial") as shown:
        # What remains where nothing is decided: activations on levels, statistics estimated anew.
        base = known.get(whole) if whole in known else known.put(whole, distance(whole))
        found: dict[Alone, float] = {}
        for done, alone in enumerate(to_do, start=1):
            choice = (*whole[: alone.parameter], alone.level, *whole[alone.parameter + 1 :])
            if choice not in known:
                known.put(choice, distance(choice))
            found[alone] = known.get(choice) - base
            shown.update(done + 1, loss=found[alone])
    found = _as_numbers(problem, found)
    return tuple(
        interpolated(
            parameter,
            [alone.level for alone in found if alone.parameter == number],
            [loss for alone, loss in found.items() if alone.parameter == number],
        )
        for number, parameter in enumerate(problem.space.parameters)
    )


def _as_numbers(problem: Problem, losses: Mapping[Alone, float]) -> dict[Alone, float]:
    """The losses, and in place of those that are no numbers the largest that are: a level to avoid."""
    known = {alone: loss for alone, loss in losses.items() if math.isfinite(loss)}
    if losses and not known:
        first = problem.space.parameters[min(alone.parameter for alone in losses)]
        raise UserError(
            f"search: the network's outputs are no numbers at any level of {first.name} "
            f"({', '.join(first.targets)}), nor of any other parameter; look for weights that are NaN, "
            "infinite or far too large."
        )

    def largest(parameter: int) -> float:
        own = [loss for alone, loss in known.items() if alone.parameter == parameter]
        return max(own or known.values())

    return {alone: known.get(alone, largest(alone.parameter)) for alone in losses}


def measured_levels(parameter: Parameter) -> list[int]:
    """The levels of a parameter that are measured, from the cheapest on, the whole one left out.

    Of bits all few ones are: each bit less costs about four times as much.
    """
    last = len(parameter.levels) - 1
    if parameter.decides == "bits":
        return [level for level in range(last) if parameter.levels[level] <= 4 or level % 2 == 0]
    return sorted({round(place) for place in np.linspace(0, last, MEASURED + 1)[:-1]} - {last})


def interpolated(
    parameter: Parameter, levels: Sequence[int], losses: Sequence[float]
) -> tuple[float, ...]:
    """The loss at every level, from those at some.

    Noise is taken out first: the nearest losses that never rise with the level (isotonic regression).
    Those between lie on lines between the measured ones; of bits on lines between their logarithms.

    Args:
        parameter: The parameter.
        levels: The levels that were measured, ascending, all below the last one.
        losses: What each of them was.

    Returns:
        A loss of 0 or more for each level; 0 for the last.
    """
    known = np.maximum(isotonic_regression(np.append(losses, 0.0), increasing=False).x, 0.0)
    # The last level is whole by definition: noise below it is none of its own.
    known = np.where(np.arange(len(known)) == len(levels), 0.0, known)
    places = np.array([parameter.levels[level] for level in (*levels, len(parameter.levels) - 1)])
    values = np.array(parameter.levels)
    if parameter.decides == "sparsity":
        places, values = -places, -values
    if parameter.decides == "bits":
        tiny = max(known.max(), 1e-12) * 1e-6
        found = np.exp(np.interp(values, places, np.log(np.maximum(known, tiny))))
        found = np.where(found <= tiny, 0.0, found)
        found[-1] = 0.0
    else:
        found = np.interp(values, places, known)
    return tuple(float(each) for each in found)


class _Journal:
    """Measurements, each on disk before the next one begins."""

    def __init__(self, file: Path, stamp: str) -> None:
        self._lines = AppendedLines(file)
        self._known = _measured(self._lines.lines, stamp)
        if not self._known:
            file.unlink(missing_ok=True)
            self._lines = AppendedLines(file)
            self._lines.append(stamp)

    def __enter__(self) -> "_Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

    def __contains__(self, choice: tuple[int, ...]) -> bool:
        return choice in self._known

    def get(self, choice: tuple[int, ...]) -> float:
        return self._known[choice]

    def put(self, choice: tuple[int, ...], distance: float) -> float:
        self._known[choice] = distance
        self._lines.append(json.dumps([choice, distance]))
        return distance


def _measured(lines: Sequence[str], stamp: str) -> dict[tuple[int, ...], float]:
    """What a journal holds; nothing where it is of something else, or damaged."""
    if lines[:1] != (stamp,):
        return {}
    try:
        return {tuple(choice): float(distance) for choice, distance in map(json.loads, lines[1:])}
    except (ValueError, TypeError):
        return {}
