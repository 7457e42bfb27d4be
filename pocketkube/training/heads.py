"""What one output of a model is to learn: its loss, its score and how far it is from teachers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from pocketkube.errors import UserError
from pocketkube.extension import tasks
from pocketkube.keras_private import LossFunctionWrapper
from pocketkube.measures import Classes, HeadMeasure, Measure, Points, Values, measure_of
from pocketkube.measures.points import normalized_errors
from pocketkube.training.losses import TINY, loss_of_each

# Keras's losses of classes: those that take class numbers, and those that take rows over classes.
TAKE_NUMBERS = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy")
TAKE_ROWS = (
    *("categorical_crossentropy", "categorical_focal_crossentropy", "categorical_hinge"),
    *("binary_crossentropy", "binary_focal_crossentropy", "hinge", "squared_hinge"),
    *("kl_divergence", "dice", "tversky"),
)


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
        return names | asdict(self.measure) | {"loss": loss}  # type: ignore[call-overload]

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

    @abstractmethod
    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right each example is; the higher the better.

        Returns:
            `[batch]`.
        """

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

    def distance_to(self, outputs: Any, wanted: tf.Tensor, temperature: float) -> tf.Tensor:
        """How far each example's output is from what teachers say, taken for the truth.

        Args:
            outputs: The student's.
            wanted: What the teachers say, softened by the same temperature.
            temperature: `T`.

        Returns:
            `[batch]`, before its weight.
        """
        return self.losses(wanted, outputs)

    def _loss_of(self, labels: Any, outputs: Any) -> tf.Tensor:
        assert self.loss is not None
        return loss_of_each(self.loss, labels, outputs)


@dataclass(frozen=True, eq=False)
class ClassHead(Head):
    """Tells classes apart; the score is 1 where the likeliest class is right.

    The distance is `T² KL(teachers ‖ student)` of the distributions softened by the temperature `T`
    (Hinton et al., 2015). A loss of the user's own is given labels as the user gives them; Keras's take
    class numbers or rows, whichever the labels are.

    Attributes:
        num_classes: How many the output tells apart; a single unit two.
        from_logits: Whether the output is logits, not probabilities.
    """

    num_classes: int = 2
    from_logits: bool = True

    @property
    def config(self) -> dict[str, Any]:
        """See `Head`."""
        return super().config | {"num_classes": self.num_classes, "from_logits": self.from_logits}

    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Head`."""
        assert self.loss is not None
        labels = tf.convert_to_tensor(labels)
        own, are_rows = keras_loss(self.loss) is None, labels.dtype.is_floating
        if not are_rows and not smoothing and (own or keras_loss(self.loss) in TAKE_NUMBERS):
            return self._loss_of(labels, outputs)
        outputs = _with_units(outputs)
        rows = self._rows(labels, outputs)
        rows = rows * (1 - smoothing) + smoothing / self.num_classes
        if keras_loss(self.loss) == "sparse_categorical_crossentropy":
            twin = keras.losses.CategoricalCrossentropy(self.from_logits, reduction=self.loss.reduction)
            return loss_of_each(twin, rows, outputs)
        return self._loss_of(rows, outputs)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        labels, logits = tf.convert_to_tensor(labels), self._logits(outputs)
        if labels.dtype.is_floating:
            single = labels.shape[-1] == 1
            classes = tf.cast(labels[..., 0] > 0.5, tf.int64) if single else tf.argmax(labels, -1)
        else:
            classes = tf.cast(_numbers(labels, logits), tf.int64)
        return mean_over_positions(tf.cast(classes == tf.argmax(logits, -1), tf.float32))

    def softened(self, outputs: Any, temperature: float) -> tf.Tensor:
        """See `Head`."""
        return tf.nn.log_softmax(self._logits(outputs) / temperature)

    def mean_of_softened(self, said: Sequence[tf.Tensor]) -> tf.Tensor:
        """See `Head`."""
        return tf.reduce_logsumexp(tf.stack(said), axis=0) - math.log(len(said))

    def distance_to(self, outputs: Any, wanted: tf.Tensor, temperature: float) -> tf.Tensor:
        """See `Head`."""
        divergence = tf.exp(wanted) * (wanted - self.softened(outputs, temperature))
        return temperature**2 * mean_over_positions(tf.reduce_sum(divergence, axis=-1))

    def _rows(self, labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Labels as rows of as many entries as the output has units."""
        units = outputs.shape[-1]
        if not labels.dtype.is_floating:
            labels = tf.one_hot(_numbers(labels, outputs), max(units, 2))
        labels = tf.cast(labels, tf.float32)
        if units == 1:
            return labels[..., -1:]
        missing = units - labels.shape[-1]
        return tf.pad(labels, [[0, 0]] * (len(labels.shape) - 1) + [[0, missing]])

    def _logits(self, outputs: Any) -> tf.Tensor:
        outputs = tf.cast(_with_units(outputs), tf.float32)
        if outputs.shape[-1] == 1:
            # One output stands for the second of two classes.
            logit = outputs if self.from_logits else _log(outputs) - _log(1 - outputs)
            return tf.concat([tf.zeros_like(logit), logit], axis=-1)
        return outputs if self.from_logits else _log(outputs)


@dataclass(frozen=True, eq=False)
class ValueHead(Head):
    """Gives values; the score is minus the absolute error."""

    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Head`."""
        return self._loss_of(_of_shape(labels, outputs), outputs)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        errors = tf.cast(_of_shape(labels, outputs), tf.float32) - tf.cast(outputs, tf.float32)
        return -mean_over_positions(tf.abs(errors))


@dataclass(frozen=True, eq=False)
class PointHead(Head):
    """Gives points in the image; the score is minus the NME (see `Points`)."""

    measure: Points

    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Head`."""
        return self._loss_of(labels, outputs)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        points, found = tf.cast(labels, tf.float32), tf.cast(outputs, tf.float32)
        return -normalized_errors(points, found, self.measure.normalize_by, ops)


HEADS: dict[str, type[Head]] = {
    Classes.kind: ClassHead,
    Values.kind: ValueHead,
    Points.kind: PointHead,
}


def head_of_config(config: Mapping[str, Any]) -> Head:
    """The head that a `Head.config` describes.

    Raises:
        UserError: If its loss is made of a class or function that is not known here.
    """
    # Of a task that a package adds the class of the loss may be known from here on.
    kind = HEADS.get(config["kind"]) or tasks.get(config["kind"], tuple(HEADS)).head()
    own = {name: config[name] for name in ("num_classes", "from_logits") if name in config}
    try:
        loss = keras.saving.deserialize_keras_object(config["loss"])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The loss of output {config['name']} is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and import its module before."
        ) from error
    return kind(config["name"], measure_of(config), loss, config["weight"], **own)


def keras_loss(loss: keras.losses.Loss) -> str | None:
    """The name of the function in keras.losses that a loss is; None if it is the user's own."""
    if type(loss).call is not LossFunctionWrapper.call:
        return None
    function = loss.fn
    return str(function.__name__) if str(function.__module__).startswith("keras.") else None


def mean_over_positions(values: tf.Tensor) -> tf.Tensor:
    """`[batch]` of `[batch, …]`."""
    return tf.reduce_mean(values, axis=list(range(1, len(values.shape))))


def _numbers(labels: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
    """Class numbers, one for each row of outputs."""
    return tf.squeeze(labels, -1) if len(labels.shape) == len(outputs.shape) else labels


def _with_units(outputs: Any) -> tf.Tensor:
    """An output `[batch]` as one unit `[batch, 1]`."""
    outputs = tf.convert_to_tensor(outputs)
    return outputs[:, None] if len(outputs.shape) == 1 else outputs


def _of_shape(labels: Any, outputs: Any) -> tf.Tensor:
    labels, outputs = tf.convert_to_tensor(labels), tf.convert_to_tensor(outputs)
    same = labels.shape[1:] == outputs.shape[1:]
    return labels if same else tf.reshape(labels, tf.shape(outputs))


def _log(probabilities: tf.Tensor) -> tf.Tensor:
    return ops.log(ops.clip(probabilities, TINY, 1.0))
