"""What a criterion is: it scores the units of a network, and may choose among them in its own way."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import keras
import numpy as np

from pocketkube.graph.dependency import ChannelGraph
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.reconstruction import Response


class Criterion(ABC):
    """Judges how important each unit of a network is.

    `scores` is called once for a network, before anything is cut. It decides how many units each group
    keeps, and which, unless the criterion has a `selection`.

    Attributes:
        name: Its name in specs and on the command line.
        needs_data: Whether it looks at examples; if not, its calibration may be None.
        is_loss: Whether scores say how the loss changes: then they are held against what a unit costs,
            and count for more the fewer of its group are left. Others compare as they are.
        always_fits: Whether the weights that read what is left are fitted whether that is asked for or
            not.
    """

    name: ClassVar[str]
    needs_data: ClassVar[bool] = False
    is_loss: ClassVar[bool] = False
    always_fits: ClassVar[bool] = False

    @abstractmethod
    def scores(
        self, model: keras.Model, graph: ChannelGraph, calibration: Calibration | None
    ) -> np.ndarray:
        """Scores every unit: the lower, the sooner it may go.

        Args:
            model: The network; to be left as it is.
            graph: Its channel graph.
            calibration: Examples; never None for a criterion that needs them.

        Returns:
            A score of at least 0 for each unit, `[units]`, comparable between groups. Infinite where
            the criterion says nothing of a unit, which then stays.

        Raises:
            UserError: If the network has not what the criterion looks at.
        """

    def selection(self, model: keras.Model, calibration: Calibration) -> "Selection | None":
        """A way of its own to choose the units of a group, in the network as it is pruned.

        Called once for a network, before anything is cut.

        Args:
            model: A copy of the network, whose weights may be changed.
            calibration: Examples.

        Returns:
            The way to choose; None where the best scores are kept.
        """
        return None


@dataclass(frozen=True)
class Reader:
    """A layer that reads the units of a group.

    Attributes:
        layer: The layer in the network so far: a Conv2D or Dense.
        response: What it reads there, and what it should give.
    """

    layer: Any
    response: Response


class Selection(Protocol):
    """Chooses the units of a group where the network is pruned group by group, front to back.

    For each group `choose` is called; when the units that it left out are silent, `settle` is.

    Attributes:
        otherwise: By what units are chosen that no layer reads which can be fitted, in words.
        changes_weights: Whether `choose` leaves the readers with other weights.
    """

    otherwise: str
    changes_weights: bool

    def choose(
        self, model: keras.Model, readers: Mapping[str, Reader], members: np.ndarray, count: int
    ) -> np.ndarray:
        """The importance of each unit.

        Args:
            model: The network so far.
            readers: The layers that read the units, by their paths.
            members: The units, `[members]`.
            count: How many are to be kept.

        Returns:
            A number for each unit, `[members]`, of which the largest `count` are kept.
        """
        ...

    def settle(self, readers: Mapping[str, Reader], keep: np.ndarray, *, enough: bool) -> None:
        """Leaves the readers with the weights that they are to go on with.

        Args:
            readers: The same as `choose` was given.
            keep: A mask of the units that are kept, `[units]`.
            enough: Whether there are examples enough to tell a good fit from a bad one.
        """
        ...
