"""What every sampler is: a function from the trials so far to the next ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pocketkube.search.problem import Problem
from pocketkube.search.trial import Trial


@dataclass(frozen=True)
class Asked:
    """What to try next.

    Attributes:
        choices: One for each trial asked for, each within the budget, or the best that can be reached.
        state: What the sampler wants to see again at the next question, as text without spaces; at most
            some kilobytes. A sampler that needs none leaves it empty.
        samplers: Which sampler each choice is of: "milp" where the solution of the foreseen losses goes
            first; empty where all are of the one that was asked.
    """

    choices: tuple[tuple[int, ...], ...]
    state: str = ""
    samplers: tuple[str, ...] = ()


class Sampler(Protocol):
    """A way to search. It keeps nothing: equal questions have equal answers.

    Attributes:
        name: Its name in a spec, and after "pocketkube-" as Katib's algorithm.
    """

    name: str

    def ask(
        self, problem: Problem, trials: Sequence[Trial], count: int, *, seed: int, state: str = ""
    ) -> Asked:
        """Says what to try next.

        Args:
            problem: The search.
            trials: All trials so far in any order, running and failed ones, too.
            count: How many are asked for.
            seed: Of the experiment.
            state: That of its latest answer; empty at first.
        """
        ...
