"""What one output of a model is to learn: its loss, its score and how far it is from teachers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.keras_private import LossFunctionWrapper
from pocketkube.measures import HeadMeasure, Measure
from pocketkube.training.losses import loss_of_each

# Of their spread: how far values that are drawn lie from what a model says. About as far as a good
# model's outputs lie from true ones.
DRAWN_SPREAD = 0.1


@dataclass(frozen=True, eq=False)
class Head(ABC):
    """One output of a model.

    Attributes:
        name: The output's.
        measure: How it is judged where there is no TensorFlow; its kind, and how its score is read.
        loss: What it is trained with; None where it is neither trained nor scored.
        weight: What the loss counts beside those of other outputs.
    """

    name: str
    measure: Measure
    loss: keras.losses.Loss | None
    weight: float = 1.0

    @property
    def kind(self) -> str:
        """What facts call what it learns."""
        return self.measure.kind

    @property
    def judged(self) -> HeadMeasure:
        """How it is judged where there is no TensorFlow."""
        return HeadMeasure(self.name, self.measure, self.loss is not None)

    @property
    def config(self) -> dict[str, Any]:
        """The head as plain JSON values, of which `head_of_config` makes it again."""
        loss = None if self.loss is None else keras.saving.serialize_keras_object(self.loss)
        scored = self.loss is not None
        names = {"name": self.name, "kind": self.kind, "scored": scored, "weight": self.weight}
        measured = asdict(self.measure)
        if not self.measure.to_original:
            del measured["to_original"]
        return names | measured | {"loss": loss}

    @abstractmethod
    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """The loss of each example, before its weight.

        Args:
            labels: Class numbers `[batch, ...]`, rows over classes `[batch, ..., classes]`, or values.
            outputs: `[batch, ...]`.
            smoothing: Part of each label that is spread over all classes.

        Returns:
            `[batch]`.
        """

    @property
    def leaves_out(self) -> bool:
        """Whether the mean of `losses` over a batch is that over positions whose labels count."""
        return False

    def counted(self, labels: Any, outputs: Any) -> tf.Tensor:
        """Which part of each example's positions counts, `[batch]`, where it `leaves_out` some."""
        raise NotImplementedError

    @abstractmethod
    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right each example is; the higher the better.

        Returns:
            `[batch]`.
        """

    @property
    def is_tallied(self) -> bool:
        """Whether the score of many examples is made of counts, and is not the mean of their scores."""
        return False

    def tally(self, labels: Any, outputs: Any) -> tf.Tensor:
        """What the score of many examples is made of, where it `is_tallied`.

        Returns:
            `[batch, counts]`, which are added up over examples.
        """
        raise NotImplementedError

    def score_of_tally(self, tally: tf.Tensor) -> tf.Tensor:
        """The score of examples, of which `tally` is the sum `[counts]`."""
        raise NotImplementedError

    def score_of_all(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right all examples are together: one number."""
        if not self.is_tallied:
            return tf.reduce_mean(self.score(labels, outputs))
        return self.score_of_tally(tf.reduce_sum(self.tally(labels, outputs), axis=0))

    def softened(self, outputs: Any, temperature: float) -> tf.Tensor:
        """What a model says, in a form in which models of any architecture can be compared.

        Returns:
            For classes logarithms of the distribution over them, softened by the temperature; else the
            values.
        """
        return tf.cast(outputs, tf.float32)

    def mean_of_softened(self, said: Sequence[tf.Tensor]) -> tf.Tensor:
        """What several models say together: the mean of their distributions or values."""
        return tf.reduce_mean(tf.stack(said), axis=0)

    def answers(self, said: Any) -> tf.Tensor:
        """Labels that are what a model says.

        Args:
            said: What it says, softened: see `softened`.

        Returns:
            Class numbers `[batch, ...]`, zeros and ones, or values.
        """
        return tf.convert_to_tensor(said)

    def drawn(self, said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Labels drawn from what a model says, of which its own answer is the likeliest.

        Held against its own answers a model is without fault, so that the gradient of a loss of values
        is 0 everywhere. Of labels that are drawn, the squared gradients' mean is the Fisher information
        (Theis et al., 2018).

        Args:
            said: What it says of all examples, softened by 1, `[n, ...]`.
            rng: Where the draws come from.

        Returns:
            As `answers` does.
        """
        return np.asarray(self.answers(said + self._noise(said, rng)))

    def distance_to(
        self, outputs: Any, wanted: tf.Tensor, temperature: float, labels: Any = None
    ) -> tf.Tensor:
        """How far each example's output is from what teachers say, taken for the truth.

        Args:
            outputs: The student's.
            wanted: What the teachers say, softened by the same temperature.
            temperature: `T`.
            labels: Tell which positions count, where this head `leaves_out` some, and what a loss that
                is reduced to a sum is the sum of. All positions do if None.

        Returns:
            `[batch]`, before its weight; means over the positions that count, or sums where the loss is
            reduced to a sum and there are labels.
        """
        return self.losses(wanted, outputs)

    def _noise(self, said: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """What is added to what a model says, so that its answers are drawn."""
        spread = DRAWN_SPREAD * said.std(axis=0)
        return (spread * rng.normal(size=said.shape)).astype(said.dtype)

    def _loss_of(self, labels: Any, outputs: Any) -> tf.Tensor:
        assert self.loss is not None
        return loss_of_each(self.loss, labels, outputs)


def keras_loss(loss: keras.losses.Loss) -> str | None:
    """The name of the function in keras.losses that a loss is; None if it is the user's own."""
    if type(loss).call is not LossFunctionWrapper.call:
        return None
    function = loss.fn
    return str(function.__name__) if str(function.__module__).startswith("keras.") else None


def mean_over_positions(values: tf.Tensor) -> tf.Tensor:
    """`[batch]` of `[batch, …]`."""
    return tf.reduce_mean(values, axis=list(range(1, len(values.shape))))


def of_shape(labels: Any, outputs: Any) -> tf.Tensor:
    """Labels in the shape of outputs of as many numbers."""
    labels, outputs = tf.convert_to_tensor(labels), tf.convert_to_tensor(outputs)
    same = labels.shape[1:] == outputs.shape[1:]
    return labels if same else tf.reshape(labels, tf.shape(outputs))
