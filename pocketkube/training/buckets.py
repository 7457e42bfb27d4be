"""Tensors in buckets that travel one after the other, while the backward pass makes the rest."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

# Few enough messages that what each one costs does not count, and many enough that all but the last
# one travel while gradients are computed.
BUCKET_BYTES = 8 << 20


def buckets(tensors: "Sequence[tf.Tensor]", most_bytes: int) -> list[list[int]]:
    """Places of tensors in buckets, as in PyTorch's DistributedDataParallel (Li et al., 2020).

    The backward pass makes the gradients of the last layers first: buckets begin there, and go to the
    front. They follow from types and shapes alone, and so are the same in all processes.

    Args:
        tensors: Gradients in the order of their variables; what is known before them comes last.
        most_bytes: What a bucket holds at most, if it is more than one tensor.

    Returns:
        For each bucket the places of its tensors, which have one type. A tensor whose shape is only
        known when it is there has a bucket of its own.
    """
    found: list[list[int]] = []
    # The bucket of each type that has room, and the bytes that are in it.
    last: dict[tf.DType, tuple[list[int], int]] = {}
    for place in reversed(range(len(tensors))):
        tensor = tensors[place]
        count = tensor.shape.num_elements()
        size = most_bytes if count is None else count * tensor.dtype.size
        bucket, filled = last.get(tensor.dtype, ([], 0))
        if not bucket or filled + size > most_bytes:
            bucket, filled = [], 0
            found.append(bucket)
        bucket.append(place)
        last[tensor.dtype] = bucket, filled + size
    return found
