"""What a data set is to the rest of PocketKube: three splits that never overlap."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Examples:
    """A split: `size` examples, each a tuple of inputs and a tuple of labels, in a fixed order.

    Attributes:
        size: How many examples there are.
        open: Opens the examples as an unbatched tf.data.Dataset of `(inputs, labels)`, two tuples
            of tensors: float32 inputs (int32 where the source has integers that are no image), and
            labels: int32 scalars for classification, float32 for regression.
        arrays: The same as arrays with a leading axis of `size`, where they fit into memory.
        num_classes: Number of classes; None for regression.
    """

    size: int
    open: Callable[[], tf.data.Dataset]
    arrays: tuple[Arrays, Arrays] | None = None
    num_classes: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A data set: what its inputs and labels are, and its splits.

    Attributes:
        name: What to call it, as in "digits".
        input_shapes: Shape of each input without the batch axis.
        num_classes: Number of classes; None for regression.
        train: For training and calibration.
        validation: For decisions (search, pruning, early stopping).
        test: For the report's figures only.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    num_classes: int | None
    train: Examples
    validation: Examples
    test: Examples
