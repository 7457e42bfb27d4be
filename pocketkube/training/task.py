"""What a model is to learn: its loss, its score and how far it is from teachers."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from pocketkube.errors import UserError
from pocketkube.measures import Classes, Measure, Points, Values, measure_of
from pocketkube.measures.points import as_points, normalized_errors, normalizers

TINY = 1e-7
# Errors beneath this part of the normaliser count squared. The best models are off by some three
# times as much on 300-W: there, all points pull alike.
SQUARED_BELOW = 0.01


@dataclass(frozen=True)
class Task(ABC):
    """A loss and a score for each example.

    Attributes:
        description: What the loss is and how that is known, in a sentence.
        measure: How its outputs are judged where there is no TensorFlow; also its kind, and how its
            score is read.
    """

    description: str
    measure: Measure = field(kw_only=True)

    @property
    def kind(self) -> str:
        """What facts call the task."""
        return self.measure.kind

    @property
    def score_name(self) -> str:
        """What machines call `score`."""
        return self.measure.wording.score_name

    @property
    def told(self) -> dict[str, Any]:
        """What `told_task` makes the task of again, as plain JSON values."""
        names = {"kind": self.kind, "score_name": self.score_name, "description": self.description}
        return names | asdict(self.measure)  # type: ignore[call-overload]

    @abstractmethod
    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """The loss of each example, summed over the model's outputs.

        Args:
            labels: For each output, class numbers `[batch]` or rows `[batch, classes]`; or values.
            outputs: The model's output or outputs, `[batch, …]`.
            smoothing: Part of each label that is spread over all classes.

        Returns:
            `[batch]`.
        """

    @abstractmethod
    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """How right each example is, the mean over the model's outputs; the higher the better.

        Returns:
            `[batch]`.
        """

    def softened(self, outputs: Any, temperature: float) -> list[tf.Tensor]:
        """What a model says, in a form in which models of any architecture can be compared.

        Returns:
            For each output: for classification logarithms of the distribution over all classes,
            softened by the temperature; else the values.
        """
        return [tf.cast(z, tf.float32) for z in _flat(outputs)]

    def mean_of_softened(self, said: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
        """What several models say together: the mean of their distributions or values.

        Args:
            said: What each of them says, softened.

        Returns:
            The same for all of them together.
        """
        return [tf.reduce_mean(tf.stack(column), axis=0) for column in zip(*said, strict=True)]

    def distance_to(self, outputs: Any, wanted: Sequence[tf.Tensor], temperature: float) -> tf.Tensor:
        """How far each example's outputs are from what teachers say, taken for the truth.

        Args:
            outputs: The student's outputs.
            wanted: What the teachers say, softened by the same temperature.
            temperature: `T`.

        Returns:
            `[batch]`.
        """
        return self.loss(wanted, outputs)


@dataclass(frozen=True)
class Classification(Task):
    """Cross-entropy with class numbers or rows; the score is 1 where the likeliest class is right.

    The distance is `T² KL(teachers ‖ student)` of the distributions softened by the temperature `T`
    (Hinton et al., 2015).

    Attributes:
        from_logits: Whether the outputs are logits, not probabilities.
    """

    from_logits: bool
    measure: Measure = field(default=Classes(), kw_only=True)

    @property
    def told(self) -> dict[str, Any]:
        """See `Task`."""
        return super().told | {"from_logits": self.from_logits}

    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Task`."""
        return _sum([self._loss_of_one(y, z, smoothing) for y, z in _pairs(labels, outputs)])

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Task`."""
        return _mean([self._hit(y, z) for y, z in _pairs(labels, outputs)])

    def softened(self, outputs: Any, temperature: float) -> list[tf.Tensor]:
        """See `Task`."""
        return [tf.nn.log_softmax(self._logits(z) / temperature) for z in _flat(outputs)]

    def mean_of_softened(self, said: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
        """See `Task`."""
        columns = [tf.stack(column) for column in zip(*said, strict=True)]
        return [tf.reduce_logsumexp(column, axis=0) - math.log(len(said)) for column in columns]

    def distance_to(self, outputs: Any, wanted: Sequence[tf.Tensor], temperature: float) -> tf.Tensor:
        """See `Task`."""
        pairs = zip(wanted, self.softened(outputs, temperature), strict=True)
        divergences = [tf.reduce_sum(tf.exp(t) * (t - s), axis=-1) for t, s in pairs]
        return temperature**2 * _sum([_mean_over_positions(each) for each in divergences])

    def _loss_of_one(self, labels: Any, outputs: Any, smoothing: float) -> tf.Tensor:
        logits = self._logits(outputs)
        rows = _rows(labels, logits)
        rows = rows * (1 - smoothing) + smoothing / rows.shape[-1]
        return _mean_over_positions(-tf.reduce_sum(rows * tf.nn.log_softmax(logits), axis=-1))

    def _hit(self, labels: Any, outputs: Any) -> tf.Tensor:
        logits = self._logits(outputs)
        right = tf.argmax(_rows(labels, logits), -1) == tf.argmax(logits, -1)
        return _mean_over_positions(tf.cast(right, tf.float32))

    def _logits(self, outputs: Any) -> tf.Tensor:
        outputs = tf.cast(outputs, tf.float32)
        if outputs.shape[-1] == 1:
            # One output stands for the second of two classes.
            logit = outputs if self.from_logits else _log(outputs) - _log(1 - outputs)
            return tf.concat([tf.zeros_like(logit), logit], axis=-1)
        return outputs if self.from_logits else _log(outputs)


@dataclass(frozen=True)
class Regression(Task):
    """The squared error; the score is minus the absolute one."""

    measure: Measure = field(default=Values(), kw_only=True)

    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Task`."""
        return _sum([_squared_error(y, z) for y, z in _pairs(labels, outputs)])

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Task`."""
        return _mean([_negative_error(y, z) for y, z in _pairs(labels, outputs)])


@dataclass(frozen=True)
class Landmarks(Task):
    """Smooth L1 (Girshick, 2015) of the points' errors over the normaliser; the score is minus NME.

    Squared errors leave the small ones, which the NME is made of in the end, without a pull (Feng et
    al., 2018). Over the normaliser, the loss is the same in pixels and in parts of the image.
    """

    measure: Points = field(kw_only=True)

    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Task`; the mean over the coordinates."""
        ((points, given),) = _pairs(labels, outputs)
        points, given = (as_points(tf.cast(each, tf.float32), ops) for each in (points, given))
        # A label's normaliser was seen to have a length; that of a teacher's points is not known to.
        lengths = tf.maximum(normalizers(points, self.measure.normalize_by, ops), TINY)
        errors = tf.abs(given - points) / lengths[:, None, None]
        squared = tf.square(errors) / (2 * SQUARED_BELOW)
        smooth = tf.where(errors < SQUARED_BELOW, squared, errors - SQUARED_BELOW / 2)
        return _mean_over_positions(smooth)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Task`."""
        ((points, given),) = _pairs(labels, outputs)
        points, given = tf.cast(points, tf.float32), tf.cast(given, tf.float32)
        return -normalized_errors(points, given, self.measure.normalize_by, ops)


TASKS: dict[str, type[Task]] = {
    Classes.kind: Classification,
    Values.kind: Regression,
    Points.kind: Landmarks,
}


def told_task(told: Mapping[str, Any]) -> Task:
    """The task that `Task.told` told of."""
    logits = {"from_logits": told["from_logits"]} if "from_logits" in told else {}
    return TASKS[told["kind"]](told["description"], measure=measure_of(told), **logits)


def landmark_task(model: keras.Model, points: Points) -> Landmarks:
    """The task of a model that finds points.

    Args:
        model: The model.
        points: How they are judged.

    Raises:
        UserError: If the model is a classifier.
    """
    compiled = _compiled_loss(model)
    why = "is compiled with a cross-entropy" if compiled and "crossentropy" in compiled[0] else ""
    if not compiled and _ending(model) == "softmax":
        why = "ends in a softmax"
    if why:
        raise UserError(
            f"task: landmarks are found by a model that gives points, but {model.name} {why}, as "
            "classifiers do; leave task out, or end the model in a Dense layer of 2 units a point."
        )
    by = points.normalize_by
    over = by.replace("_", " ") if isinstance(by, str) else f"distance of points {by[0]} and {by[1]}"
    return Landmarks(f"smooth L1 of the landmarks' errors over the {over}", measure=points)


def infer_task(model: keras.Model, num_classes: int | None) -> Task:
    """The task of a model: what it was compiled for, or else what its outputs look like.

    Args:
        model: The model.
        num_classes: The data set's number of classes; None where its labels are values.

    Returns:
        The task.

    Raises:
        UserError: If the model has fewer outputs than there are classes, or no loss that fits.
    """
    compiled = _compiled_loss(model)
    if num_classes is None:
        if compiled and "crossentropy" in compiled[0]:
            raise UserError(
                f"The model {model.name} is compiled for classification, but the dataset's labels are "
                "no class numbers: give integer labels."
            )
        return Regression("mean squared error, as the labels are values")
    if compiled and "crossentropy" not in compiled[0]:
        raise UserError(
            f"The model {model.name} is compiled with {compiled[0]}, but the dataset's labels are "
            "class numbers: compile it with a cross-entropy, or give values as labels."
        )
    for output in model.outputs:
        size = output.shape[-1]
        classes = 2 if size == 1 else size
        if classes < num_classes:
            raise UserError(
                f"The model {model.name} tells {classes} classes apart, but the dataset has "
                f"{num_classes}."
            )
    if compiled:
        logits = compiled[1]
        where = "as the model was compiled"
    else:
        logits = _ending(model) not in ("softmax", "sigmoid")
        where = "from logits" if logits else "from the probabilities that the model ends in"
    return Classification(f"cross-entropy, {where}", logits)


def _compiled_loss(model: keras.Model) -> tuple[str, bool] | None:
    """Name of the loss that a model is compiled with, and whether it takes logits."""
    if not model.compiled:
        return None
    loss = model.loss
    if isinstance(loss, dict | list | tuple):
        loss = keras.tree.flatten(loss)[0]
    if loss is None:
        return None
    name = loss if isinstance(loss, str) else getattr(loss, "name", getattr(loss, "__name__", "loss"))
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return name.replace("_", "").lower(), bool(config.get("from_logits", False))


def _ending(model: keras.Model) -> str:
    """Name of the activation that the first output ends in, or of its layer."""
    operation = model.outputs[0]._keras_history.operation
    while hasattr(operation, "outputs") and isinstance(operation, keras.Model):
        operation = operation.outputs[0]._keras_history.operation
    name = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__)
    return name.lower()


def _pairs(labels: Any, outputs: Any) -> list[tuple[Any, Any]]:
    return list(zip(_flat(labels), _flat(outputs), strict=True))


def _flat(values: Any) -> Sequence[Any]:
    return keras.tree.flatten(values)


def _sum(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(list(terms))


def _mean(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    return _sum(terms) / len(terms)


def _rows(labels: Any, logits: tf.Tensor) -> tf.Tensor:
    labels = tf.convert_to_tensor(labels)
    if labels.dtype.is_floating:
        return tf.cast(labels, tf.float32)
    if len(labels.shape) == len(logits.shape):
        labels = tf.squeeze(labels, -1)
    return tf.one_hot(labels, logits.shape[-1])


def _mean_over_positions(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)


def _squared_error(labels: Any, outputs: Any) -> tf.Tensor:
    return _mean_over_positions(tf.square(tf.cast(labels, tf.float32) - tf.cast(outputs, tf.float32)))


def _negative_error(labels: Any, outputs: Any) -> tf.Tensor:
    return -_mean_over_positions(tf.abs(tf.cast(labels, tf.float32) - tf.cast(outputs, tf.float32)))


def _log(probabilities: tf.Tensor) -> tf.Tensor:
    return ops.log(ops.clip(probabilities, TINY, 1.0))
