"""What a data set is to the rest of PocketKube: three splits that never overlap."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from pocketkube.data.token_pairs import TokenPairs
from pocketkube.data.tokenizer import Tokenizer
from pocketkube.errors import UserError

Arrays = tuple[np.ndarray, ...]
Tensors = tuple[tf.Tensor, ...]
# A sentence on the first example that cannot be read; None where all can.
Explain = Callable[[], str | None]


@dataclass(frozen=True)
class Labels:
    """What the labels of one output are, as far as arrays alone tell.

    What they mean depends on the model, too: whole numbers `[H, W]` are a class for each pixel beside
    an output `[H, W, classes]`, and values beside one of `[H, W]`.

    Attributes:
        num_classes: Number of classes, where labels are integers of 0 or more or one-hot rows; None
            where they are values.
        rows: Whether classes are told by one-hot rows `[..., num_classes]`, not by numbers.
        shape: Of one example's labels; None where it is that of the output, whatever that is.
        whole: The least and the greatest label, where all are whole numbers, be they floats.
    """

    num_classes: int | None
    rows: bool = False
    shape: tuple[int, ...] | None = None
    whole: tuple[int, int] | None = None

    @property
    def binary(self) -> bool:
        """Whether all are 0 or 1."""
        return self.whole is not None and self.whole[0] >= 0 and self.whole[1] <= 1


def as_read(inputs: Tensors, labels: Tensors) -> tuple[Tensors, Tensors]:
    """What is read is an example already."""
    return inputs, labels


@dataclass(frozen=True)
class Examples:
    """A split: `size` examples, each a tuple of inputs and a tuple of labels, in a fixed order.

    Attributes:
        size: How many examples there are.
        open: Opens an unbatched tf.data.Dataset with a tuple for each example, of which `decode` makes
            the example. It is cheap to read and to pass over, as the path or the bytes of an image.
        arrays: The examples as arrays with a leading axis of `size`, where they fit into memory.
        labels: What the labels of each output are; behind them stand weights of examples, where there
            are such (see `Dataset`).
        decode: Makes an example of what is read, in TensorFlow's operations: `(inputs, labels)`, two
            tuples of tensors: float32 inputs (int32 where the source has integers that are no image),
            and labels: int32 for integers, scalars or maps of them; float32 for rows and values.
        decodes_windows: Whether `decode` takes `window`, too, as `pocketkube.data.decoding.image_in`
            does, for random crops; else they are cut from what is decoded.
        pairs: The same as tokens of text, where they are such; `open` fills all up to one length.
        explain: Asked where reading or decoding has failed. An error that a function in Python raises
            on the way says what is wrong by itself.
        shuffled_among: How many of those that are read one after the other are shuffled among each
            other, and are in memory for that.
    """

    size: int
    open: Callable[[], tf.data.Dataset]
    arrays: tuple[Arrays, Arrays] | None = None
    labels: tuple[Labels, ...] = ()
    decode: Callable[..., tuple[Tensors, Tensors]] = field(default=as_read, kw_only=True)
    decodes_windows: bool = field(default=False, kw_only=True)
    pairs: TokenPairs | None = field(default=None, kw_only=True)
    explain: Explain | None = field(default=None, kw_only=True)
    shuffled_among: int = field(default=8192, kw_only=True)

    def decoded(self) -> tf.data.Dataset:
        """All examples in their order, as `(inputs, labels)`."""
        return self.open().map(self.decode, num_parallel_calls=tf.data.AUTOTUNE)

    @cached_property
    def element_spec(self) -> Any:
        """What tf.data says of one example: `(inputs, labels)`, two tuples of tf.TensorSpec."""
        return self.decoded().element_spec


@dataclass(frozen=True)
class Translation:
    """What tokens of parallel text mean.

    Attributes:
        languages: From which one to which.
        tokenizer: From text to tokens and back.
        references: The translations of the test examples, as people wrote them.
    """

    languages: tuple[str, str]
    tokenizer: Tokenizer
    references: tuple[str, ...] = field(repr=False)

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are."""
        return self.tokenizer.vocabulary_size


@dataclass(frozen=True)
class Skipped:
    """Examples that cannot be used, and were left out before the splits were made.

    Attributes:
        count: How many.
        total: How many there are with them.
        first: A sentence on the first of them: where it is, and what is wrong with it.
    """

    count: int
    total: int
    first: str


@dataclass(frozen=True)
class Dataset:
    """A data set: what its inputs and labels are, and its splits.

    Attributes:
        name: What to call it, as in "digits".
        input_shapes: Shape of each input without the batch axis.
        labels: What the labels of each output are; outputs without a loss may have none. Empty where
            there are inputs alone.
        train: For training and calibration. Where examples have weights in the loss, these stand behind
            the labels of all outputs, float32 `[N]`.
        validation: For decisions (search, pruning, early stopping).
        test: For the report's figures only.
        drawn: Where labels are what an original model answers: from inputs and a seed to labels drawn
            from what it says (see `pocketkube.training.answers`). Training examples have none then.
        skipped: What was left out.
        translation: What the tokens mean, where it is parallel text.
        value_range: What 0 and 255 of its images have become; None where inputs are as they stand.
        class_names: What the classes are called, in the order of their numbers; empty where nothing
            says so.
    """

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    labels: tuple[Labels, ...]
    train: Examples
    validation: Examples
    test: Examples
    drawn: Callable[[Arrays, int], Arrays] | None = field(default=None, kw_only=True)
    skipped: Skipped | None = field(default=None, kw_only=True)
    translation: Translation | None = field(default=None, kw_only=True)
    value_range: tuple[float, float] | None = field(default=None, kw_only=True)
    class_names: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels of its own."""
        return bool(self.labels) and self.drawn is None

    @property
    def left_out(self) -> tuple[str, ...]:
        """A sentence on the examples that were skipped, where any were."""
        skipped = self.skipped
        if skipped is None:
            return ()
        return (
            f"{skipped.count} of {skipped.total} examples of {self.name} cannot be used and are left "
            f"out; the first: {skipped.first}",
        )

    @property
    def is_weighted(self) -> bool:
        """Whether training examples have weights."""
        return len(self.train.labels) > len(self.labels)


def skipped_of(name: str, sentences: Sequence[str], total: int) -> Skipped | None:
    """What is left out of a source.

    Args:
        name: The source.
        sentences: On each example that cannot be used.
        total: How many examples there are, these included.

    Raises:
        UserError: If they are more than half of all: then it is the source, or its settings, that are
            wrong.
    """
    if 2 * len(sentences) > total:
        raise UserError(
            f"{name}: {len(sentences)} of {total} examples cannot be used, too many to be skipped; the "
            f"first: {sentences[0]}"
        )
    return Skipped(len(sentences), total, sentences[0]) if sentences else None
