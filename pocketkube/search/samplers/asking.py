"""What all samplers do at a question: one choice after the other, each different from all before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pocketkube.search.problem import Problem
from pocketkube.search.sampler import Asked
from pocketkube.search.samplers.history import Choice, History, history_of
from pocketkube.search.samplers.starting import starting_choice
from pocketkube.search.samplers.untried import untried
from pocketkube.search.trial import Trial

# From the problem, the trials so far and a source of randomness to what should be tried next.
Propose = Callable[[Problem, History, np.random.Generator], Choice]


@dataclass(frozen=True)
class ProposingSampler:
    """Asks for one choice after the other, as if each before it ran already; see `Sampler`.

    Attributes:
        name: The sampler's.
        propose: Says what to try; it is projected onto the budget, and moved if it was tried before.
        starts: Whether the first trials are those of `starting_choice`.
    """

    name: str
    propose: Propose
    starts: bool = True

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """See `Sampler`."""
        past = history_of(problem, trials)
        chosen: list[Choice] = []
        names: list[str] = []
        for _ in range(count):
            rng = np.random.default_rng([seed, past.count])
            first = starting_choice(problem, past) if self.starts else None
            wanted, name = first or (self.propose(problem, past, rng), self.name)
            # What takes its place on a front spends as much.
            within = problem.limited(problem.cost(wanted)) if problem.front else problem
            choice = untried(within, wanted, past.tried, rng)
            chosen.append(choice)
            names.append(name)
            past = past.with_running(choice)
        return Asked(tuple(chosen), samplers=tuple(names))
