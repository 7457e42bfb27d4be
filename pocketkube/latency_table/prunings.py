"""Makes the files that a latency table is measured on: of a Keras model and of prunings of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras

from pocketkube.console.progress import progress
from pocketkube.errors import MachineError, UserError
from pocketkube.latency_table.budget import Latency
from pocketkube.latency_table.following import follow, telling_assignments
from pocketkube.latency_table.measuring import TimedNetwork
from pocketkube.latency_table.operations import operations_of
from pocketkube.latency_table.table import LatencyTable
from pocketkube.litert.operations import LiteRtGraph
from pocketkube.pruning.pruner import Pruner

UNCOMPRESSED = "uncompressed"
# As how far a table is tried on, each with both scopes.
HELD_OUT_SPEEDUPS = (1.5, 2.5, 4.0)

# Writes a model's LiteRT file.
Write = Callable[[keras.Model], bytes]


@dataclass(frozen=True)
class Prunings:
    """A network's files at several assignments.

    Attributes:
        assignments: How many units each group keeps, for each file.
        networks: The files.
    """

    assignments: tuple[Mapping[str, int], ...]
    networks: tuple[TimedNetwork, ...]


def random_prunings(pruner: Pruner, number_format: str, write: Write, seed: int = 0) -> Prunings:
    """The files of a network with all its channels and with random ones, to measure and fit on.

    Args:
        pruner: Of the network.
        number_format: What the table calls the files' numbers.
        write: Writes a file in these numbers.
        seed: The counts follow from it.
    """
    assignments = telling_assignments(pruner.costs, seed)
    networks = []
    with progress("prunings to measure", len(assignments), "file") as shown:
        for number, assignment in enumerate(assignments):
            content = write(pruner.to_counts(assignment).model)
            name = f"random pruning {number}" if number else UNCOMPRESSED
            networks.append(TimedNetwork(name, number_format, content))
            shown.update(number + 1)
    return Prunings(tuple(assignments), tuple(networks))


def latency_budget(pruner: Pruner, prunings: Prunings, table: LatencyTable) -> Latency:
    """The latency of any pruning, as a budget of the pruner's.

    Args:
        pruner: Of the network.
        prunings: Its files, as `random_prunings` gives them.
        table: The times of their operations.

    Raises:
        UserError: If the table lacks some, or the files' operations cannot be followed.
    """
    seen = [
        (assignment, [sized for sized, _ in operations_of(LiteRtGraph(network.content))])
        for assignment, network in zip(prunings.assignments, prunings.networks, strict=True)
    ]
    operations = follow(pruner.costs, seen)
    budget = Latency(pruner.costs, table, operations, prunings.networks[0].number_format)
    # What the table lacks is told before it is pruned by.
    budget.cost({})
    return budget


def held_out_prunings(
    pruners: Mapping[str, Pruner],
    number_format: str,
    write: Write,
    speedups: Sequence[float] = HELD_OUT_SPEEDUPS,
) -> list[TimedNetwork]:
    """Prunings as a job makes them, on which nothing is fitted.

    Args:
        pruners: Pruners of the network, by what they are called.
        number_format: See `random_prunings`.
        write: See `random_prunings`.
        speedups: How far; what a network cannot reach is left out.
    """
    networks = []
    with progress("prunings to try on", len(pruners) * len(speedups), "file") as shown:
        for name, pruner in pruners.items():
            for speedup in speedups:
                try:
                    model = pruner.to_speedup(speedup).model
                except MachineError:
                    raise
                except UserError:
                    continue
                networks.append(
                    TimedNetwork(f"{name}, {speedup:g}x", number_format, write(model), False)
                )
                shown.update(len(networks))
    return networks
