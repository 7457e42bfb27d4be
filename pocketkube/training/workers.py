"""The processes that train together: Horovod's ranks, or a single process."""

from collections.abc import Sequence
from typing import Any, Protocol

import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.ranks import started_size


class WorkersChanged(Exception):
    """The group of workers is no longer the one that training began with.

    A group raises it from any of its methods. Training then asks for a new group, which may have
    another size, and goes on from the position in the data that it had reached.
    """


class Workers(Protocol):
    """A group of processes that share every batch.

    Its size and ranks never change: see `WorkersChanged`. Every worker calls the same methods
    in the same order.

    Attributes:
        rank: The number of this worker, from 0.
        size: How many there are.
    """

    rank: int
    size: int

    def check(self) -> None:
        """Called between two steps; raises `WorkersChanged` where the group is to be made anew."""

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Means over all workers, all in one round; it may be part of a `tf.function`."""

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all workers."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every worker's variables the values that rank 0 has."""

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, which can be pickled."""


class SingleProcess:
    """One process that shares its work with no other."""

    rank, size = 0, 1

    def check(self) -> None:
        """See `Workers`."""

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """See `Workers`."""
        return tensors

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """See `Workers`."""
        return tensor

    def broadcast(self, variables: Sequence[Any]) -> None:
        """See `Workers`."""

    def broadcast_object(self, value: Any) -> Any:
        """See `Workers`."""
        return value


class HorovodWorkers:
    """Horovod's ranks, started by mpirun or horovodrun.

    Raises:
        UserError: If Horovod is not installed.
    """

    def __init__(self) -> None:
        try:
            import horovod.tensorflow as hvd
        except ImportError as error:
            raise UserError(
                "Several processes were started, but Horovod is not installed: run make horovod first."
            ) from error
        hvd.init()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()

    def check(self) -> None:
        """See `Workers`; ranks started by mpirun stay the same until they end."""

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """See `Workers`."""
        return self._hvd.grouped_allreduce(list(tensors), op=self._hvd.Average)

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """See `Workers`."""
        return self._hvd.allreduce(tensor, op=self._hvd.Sum)

    def broadcast(self, variables: Sequence[Any]) -> None:
        """See `Workers`."""
        for variable in variables:
            variable.assign(self._hvd.broadcast(tf.convert_to_tensor(variable), 0))

    def broadcast_object(self, value: Any) -> Any:
        """See `Workers`."""
        return self._hvd.broadcast_object(value, 0)


def started_workers() -> Workers:
    """The processes that this one was started with.

    Raises:
        UserError: If there are several and Horovod is not installed.
    """
    return HorovodWorkers() if started_size() > 1 else SingleProcess()


def share_weight(batch_size: int, workers: Workers) -> float:
    """How much a worker's mean over its rows of a batch counts in the mean over workers.

    Worker r has rows `r::size` of a batch of N, which are n of them: with the weight n x size / N, the
    plain mean over workers is the mean over all rows. Where workers have equally many rows it is 1.

    Args:
        batch_size: Rows of the whole batch, N.
        workers: The group.
    """
    rows = len(range(workers.rank, batch_size, workers.size))
    return rows * workers.size / batch_size
