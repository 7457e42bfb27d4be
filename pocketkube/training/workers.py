"""The processes that train together: Horovod's ranks, or this one alone."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.training.mpirun import started_size


class Alone:
    """One process that has nobody to agree with."""

    rank, size = 0, 1

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Means over all ranks."""
        return tensors

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all ranks."""
        return tensor

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every rank the values of rank 0."""

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value."""
        return value


class Horovod(Alone):
    """Horovod's ranks, started by mpirun or horovodrun."""

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

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Means over all ranks, all in one round."""
        return self._hvd.grouped_allreduce(list(tensors), op=self._hvd.Average)

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all ranks."""
        return self._hvd.allreduce(tensor, op=self._hvd.Sum)

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every rank the values of rank 0."""
        for variable in variables:
            variable.assign(self._hvd.broadcast(tf.convert_to_tensor(variable), 0))

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value."""
        return self._hvd.broadcast_object(value, 0)


def workers() -> Alone:
    """The processes that this one was started with.

    Raises:
        UserError: If there are several and Horovod is not installed.
    """
    return Horovod() if started_size() > 1 else Alone()
