"""The processes that train together: Horovod's ranks, or a single process."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, TypeVar

import tensorflow as tf

from pocketkube.errors import UserError
from pocketkube.processes.ranks import may_change, started_size
from pocketkube.training.buckets import BUCKET_BYTES, buckets

Answer = TypeVar("Answer")
# Horovod's own: the bytes that it brings together in one message.
FUSION_THRESHOLD = "HOROVOD_FUSION_THRESHOLD"
# How often ranks ask each other what is there, where they compute without a GPU. With Horovod's 1 this
# alone takes a tenth of a core, over Gloo, with 5 a twenty-fifth; a step takes a hundred and more.
_CYCLE_MS = "5"


class WorkersChanged(Exception):
    """The group of workers is no longer the one that training began with.

    A group raises it from any of its methods. Training then asks for a new group, which may have
    another size, and goes on from the position in the data that it had reached.
    """


class TooLate(Exception):
    """The others have done a piece of common work, and have gone on."""


class Workers(Protocol):
    """A group of processes that share every batch.

    Its size and ranks never change: see `WorkersChanged`. Every worker calls the same methods
    in the same order.

    Attributes:
        rank: The number of this worker, from 0.
        size: How many there are.
        may_change: Whether another group may take its place.
    """

    rank: int
    size: int
    may_change: bool

    def check(self) -> None:
        """Raises `WorkersChanged` where the group is to be made anew.

        Called when what was learnt has just been committed: nothing is lost then.
        """

    def failures_as_changes(self) -> AbstractContextManager[None]:
        """Within it, `WorkersChanged` is raised where a worker was lost, whatever tells of that."""

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """Means over all workers; it may be part of a `tf.function`.

        There the last tensors travel as soon as they are computed, while those before them are.
        """

    def total(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum over all workers."""

    def broadcast(self, variables: Sequence[Any]) -> None:
        """Gives every worker's variables the values that rank 0 has."""

    def broadcast_object(self, value: Any) -> Any:
        """Rank 0's value, which can be pickled."""


class SingleProcess:
    """One process that shares its work with no other."""

    rank, size = 0, 1
    may_change = False

    def check(self) -> None:
        """See `Workers`."""

    def failures_as_changes(self) -> AbstractContextManager[None]:
        """See `Workers`."""
        return nullcontext()

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

    may_change = False

    def __init__(self) -> None:
        try:
            import horovod.tensorflow as hvd
        except ImportError as error:
            raise UserError(
                "Several processes were started, but Horovod is not installed: run make horovod first."
            ) from error
        initialize()
        self._hvd = hvd
        self.rank, self.size = hvd.rank(), hvd.size()

    def check(self) -> None:
        """See `Workers`; ranks started by mpirun stay the same until they end."""

    def failures_as_changes(self) -> AbstractContextManager[None]:
        """See `Workers`; mpirun ends all where one is lost."""
        return nullcontext()

    def average(self, tensors: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        """See `Workers`; each bucket is one message."""
        dense = [tf.convert_to_tensor(tensor) for tensor in tensors]
        means = list(dense)
        for places in buckets(dense, _most_bytes()):
            bucket = [dense[place] for place in places]
            averaged = self._hvd.grouped_allreduce(bucket, op=self._hvd.Average)
            for place, mean in zip(places, averaged, strict=True):
                means[place] = mean
        return means

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


def _most_bytes() -> int:
    given = os.environ.get(FUSION_THRESHOLD, str(BUCKET_BYTES))
    if not given.strip().isdecimal():
        raise UserError(
            f"{FUSION_THRESHOLD} is a number of bytes, as in {BUCKET_BYTES}. Received: {given!r}."
        )
    return int(given)


def initialize() -> None:
    """Connects Horovod's ranks, which then add up each bucket by itself.

    Horovod would fuse those that happen to be there at the same time. Where a number is in a message
    decides in which order three and more ranks add it up: results would depend on timing.
    """
    import horovod.tensorflow as hvd

    os.environ.setdefault("HOROVOD_DISABLE_GROUP_FUSION", "1")
    if not os.environ.get("HOROVOD_AUTOTUNE") and not tf.config.list_physical_devices("GPU"):
        os.environ.setdefault("HOROVOD_CYCLE_TIME", _CYCLE_MS)
    hvd.init()


def started_workers() -> Workers:
    """The processes that this one was started with, for their next piece of common work.

    Raises:
        UserError: If there are several and Horovod is not installed.
        TooLate: If the others have done this piece of work.
    """
    if may_change():
        from pocketkube.training.elastic import elastic_workers

        return elastic_workers()
    return HorovodWorkers() if started_size() > 1 else SingleProcess()


def shared(work: Callable[[Workers], Answer]) -> Answer:
    """Does a piece of work that depends on nothing that is learnt, all workers together.

    It is done again from its beginning where workers change, and by one that is late for it alone.

    Args:
        work: The work, which changes nothing.
    """
    while True:
        try:
            group = started_workers()
        except TooLate:
            return work(SingleProcess())
        try:
            with group.failures_as_changes():
                return work(group)
        except WorkersChanged:
            continue


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
