"""A search as plain data: what may be chosen, what it costs, and how much may be spent.

It travels compressed in an experiment's algorithm settings: the suggestion service needs nothing else.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pocketkube.graph.cost_model import CostModel
from pocketkube.search.space import Space

# "mean_bits" counts over all weights that have a parameter of bits; "bytes" are the file's; "latency"
# is in nanoseconds, from a latency table.
CostName = Literal["macs", "parameters", "mean_bits", "bytes", "latency"]


@dataclass(frozen=True)
class Limit:
    """The most that may be spent.

    Attributes:
        cost: Of what.
        most: How much, in the cost's unit.
    """

    cost: CostName
    most: float


@dataclass(frozen=True)
class Problem:
    """What a sampler knows of a search.

    Attributes:
        space: What may be chosen.
        network: What the network costs with any number of its channels.
        limit: What the whole network may cost.
        losses: Foreseen loss of the score of each parameter at each of its levels, all others whole, as
            the sensitivity analysis measured it: 0 or more, `[levels]` for each parameter; empty where
            nothing was measured.
    """

    space: Space
    network: CostModel
    limit: Limit
    losses: tuple[tuple[float, ...], ...] = ()

    def costs(self, choices: np.ndarray) -> np.ndarray:
        """What choices cost, in the limit's unit: `[choices]`.

        Args:
            choices: `[choices, parameters]`.
        """
        raise NotImplementedError
