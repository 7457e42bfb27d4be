"""How long samplers take to answer, by the trials that they look back on.

    python -m tests.benchmarks.sampler_answers

Prints a Markdown table of milliseconds: medians over rounds in which samplers and numbers of trials
take turns, and what an answer after the most trials takes over one after the fewest.
"""

import itertools
import time
from statistics import median

import numpy as np

from pocketkube.search.projection import project
from pocketkube.search.samplers import sampler_named
from pocketkube.search.trial import Trial
from tests.search.synthetic import residual, synthetic

NAMES = ("ddpg", "milp", "tpe", "gp", "cmaes")
TRIALS = (20, 100, 500)
ROUNDS = 5


def main() -> None:
    """Measures, and prints the table."""
    search = synthetic(network=residual(9), part=0.4)
    points = np.random.default_rng(0).random((max(TRIALS), len(search.problem.space.parameters)))
    choices = [project(search.problem, point).choice for point in points]
    past = [Trial(n, choice, "done", search.score(choice)) for n, choice in enumerate(choices)]
    taken: dict[tuple[str, int], list[float]] = {}
    for _, name, count in itertools.product(range(ROUNDS), NAMES, TRIALS):
        began = time.perf_counter()
        sampler_named(name).ask(search.problem, past[:count], 1, seed=0)
        taken.setdefault((name, count), []).append(1000 * (time.perf_counter() - began))
    print("| sampler |", " | ".join(f"{count} trials" for count in TRIALS), "| most over fewest |")
    print("| --- " * (len(TRIALS) + 2) + "|")
    for name in NAMES:
        found = [median(taken[name, count]) for count in TRIALS]
        print(
            f"| {name} |",
            " | ".join(f"{each:.0f}" for each in found),
            f"| {found[-1] / found[0]:.1f} |",
        )


if __name__ == "__main__":
    main()
