"""What every algorithm is: settings that it knows, and a function that suggests the next trial."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.trial import Trial


@dataclass(frozen=True)
class Setting:
    """A setting of an algorithm.

    Attributes:
        wanted: What its value has to be, for people.
        read: The value of its text; raises ValueError where that is wrong.
    """

    wanted: str
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Suggested:
    """What to try next.

    Attributes:
        assignment: A value for each parameter, by its name.
        state: What the algorithm wants to see again at the next question.
    """

    assignment: Mapping[str, str]
    state: str = ""


class Suggest(Protocol):
    """Suggests the next trial; keeps nothing: equal questions have equal answers."""

    def __call__(self, experiment: Experiment, trials: Sequence[Trial], state: str) -> Suggested | None:
        """Says what to try next; None where everything has been tried.

        Args:
            experiment: The experiment.
            trials: All trials so far in the order of their numbers, running and failed ones, too.
            state: That of the latest answer.
        """


def _nothing(_: Experiment) -> Iterator[tuple[tuple[str | int, ...], str]]:
    return iter(())


@dataclass(frozen=True)
class Suggester:
    """An algorithm.

    Attributes:
        suggest: Suggests the next trial.
        settings: The settings that it knows, by name.
        check: What is wrong with an experiment for it: keys that lead there, and a sentence.
    """

    suggest: Suggest
    settings: Mapping[str, Setting]
    check: Callable[[Experiment], Iterator[tuple[tuple[str | int, ...], str]]] = _nothing


def whole(least: int, most: int | None = None) -> Setting:
    """A setting that is a whole number."""
    wanted = f"a whole number, at least {least}" + (f" and at most {most}" if most is not None else "")
    return Setting(wanted, lambda text: _within(int(text), least, most))


def number(least: float, most: float = float("inf")) -> Setting:
    """A setting that is a number, without its bounds."""
    wanted = f"a number above {least:g}" + (f" and below {most:g}" if most < float("inf") else "")

    def read(text: str) -> float:
        value = float(text)
        if not least < value < most:
            raise ValueError(wanted)
        return value

    return Setting(wanted, read)


def one_of(*words: str) -> Setting:
    """A setting that is one of some words."""

    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return Setting(f"one of {', '.join(words)}", read)


# What all generators of random numbers take.
SEED = {"random_state": whole(0, 2**32 - 1)}


def seed_of(experiment: Experiment) -> int:
    """The seed of an experiment: its setting random_state, or 0."""
    return int(experiment.algorithm.settings.get("random_state", 0))


def seed_of_question(experiment: Experiment, asked: int) -> int:
    """A seed of its own for each question, below 2**32.

    Args:
        experiment: The experiment.
        asked: How many trials there are already.
    """
    return int(np.random.SeedSequence([seed_of(experiment), asked]).generate_state(1)[0])


def known_values(experiment: Experiment, trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """The trials that have a value, with it, less being better."""
    sign = -1.0 if experiment.objective.maximize else 1.0
    return [(trial, sign * trial.value) for trial in trials if trial.value is not None]


def _within(value: int, least: int, most: int | None) -> int:
    if value < least or (most is not None and value > most):
        raise ValueError(value)
    return value
