"""What the stage itself would keep, were there no search: a choice that a search starts from.

A search that never tries it can end with less than the job reaches without one.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice
from pocketkube.search.space import Parameter, Space


def with_ranked(problem: Problem, counts: Mapping[str, int]) -> Problem:
    """The search with the stage's own assignment among its choices, as `Problem.ranked`.

    A parameter of one group of channels gets a level for what that group keeps, if it has none. One of
    several groups keeps its levels, and takes the one that is nearest to the mean of what they keep.

    Args:
        problem: A search for channels alone, whose losses were not measured yet.
        counts: Units that each group keeps under the limit, by the group's name.
    """
    sizes = {group.name: group.size for group in problem.network.groups}
    parts = [
        float(np.mean([counts[target] / sizes[target] for target in each.targets]))
        for each in problem.space.parameters
    ]
    wider = replace(problem, space=Space(tuple(map(_with_level, problem.space.parameters, parts))))
    choice = wider.space.choice(dict(zip(wider.space.names, parts, strict=True)))
    if wider.cost(choice) > wider.limit.most:
        choice = np.array(project_choice(wider, choice).choice)
    return replace(wider, ranked=tuple(choice.tolist()))


def _with_level(parameter: Parameter, part: float) -> Parameter:
    if len(parameter.targets) > 1 or np.isclose(parameter.levels, part).any():
        return parameter
    return replace(parameter, levels=tuple(sorted((*parameter.levels, part))))
