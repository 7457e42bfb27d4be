"""What a model is to learn: its loss, its score and how far it is from teachers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import ops

from pocketkube.errors import UserError

Kind = Literal["classification", "regression"]
TINY = 1e-7


@dataclass(frozen=True)
class Task:
    """A loss and a score for each example.

    Attributes:
        kind: Classification by class numbers or one-hot rows, or regression.
        from_logits: Whether a classifier's outputs are logits, not probabilities.
        description: What the loss is and how that is known, in a sentence.
    """

    kind: Kind
    from_logits: bool
    description: str

    @property
    def score_name(self) -> str:
        """What `score` is called."""
        return "accuracy" if self.kind == "classification" else "negative_mae"

    def loss(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """The loss of each example, summed over the model's outputs.

        Args:
            labels: For each output, class numbers `[batch]` or rows `[batch, classes]`; or values.
            outputs: The model's output or outputs, `[batch, …]`.
            smoothing: Part of each label that is spread over all classes.

        Returns:
            `[batch]`.
        """
        each = self._loss_of_one if self.kind == "classification" else _squared_error
        return _sum([each(y, z, smoothing) for y, z in _pairs(labels, outputs)])

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """1 for each example whose most likely class is right, else 0; or minus the absolute error.

        Returns:
            `[batch]`, the mean over the model's outputs.
        """
        each = self._hit if self.kind == "classification" else _negative_error
        scores = [each(y, z) for y, z in _pairs(labels, outputs)]
        return _sum(scores) / len(scores)

    def softened(self, outputs: Any, temperature: float) -> list[tf.Tensor]:
        """What a model says, in a form in which models of any architecture can be compared.

        Returns:
            For each output: for classification logarithms of the distribution over all classes,
            softened by the temperature; for regression the values.
        """
        if self.kind == "regression":
            return [tf.cast(z, tf.float32) for z in _flat(outputs)]
        return [tf.nn.log_softmax(self._logits(z) / temperature) for z in _flat(outputs)]

    def mean_of_softened(self, said: Sequence[Sequence[tf.Tensor]]) -> list[tf.Tensor]:
        """What several models say together: the mean of their distributions or values.

        Args:
            said: What each of them says, softened.

        Returns:
            The same for all of them together.
        """
        columns = [tf.stack(column) for column in zip(*said, strict=True)]
        if self.kind == "regression":
            return [tf.reduce_mean(column, axis=0) for column in columns]
        return [tf.reduce_logsumexp(column, axis=0) - math.log(len(said)) for column in columns]

    def distance_to(self, outputs: Any, wanted: Sequence[tf.Tensor], temperature: float) -> tf.Tensor:
        """How far each example's outputs are from what teachers say.

        For classification `T² KL(teachers ‖ student)` of the distributions softened by the
        temperature `T` (Hinton et al., 2015); for regression the squared error.

        Args:
            outputs: The student's outputs.
            wanted: What the teachers say, softened by the same temperature.
            temperature: `T`.

        Returns:
            `[batch]`.
        """
        pairs = list(zip(wanted, self.softened(outputs, temperature), strict=True))
        if self.kind == "regression":
            return _sum([_squared_error(t, s) for t, s in pairs])
        divergences = (tf.reduce_sum(tf.exp(t) * (t - s), axis=-1) for t, s in pairs)
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
        return Task("regression", False, "mean squared error, as the labels are values")
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
        logits = not _ends_in_probabilities(model)
        where = "from logits" if logits else "from the probabilities that the model ends in"
    return Task("classification", logits, f"cross-entropy, {where}")


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


def _ends_in_probabilities(model: keras.Model) -> bool:
    operation = model.outputs[0]._keras_history.operation
    while hasattr(operation, "outputs") and isinstance(operation, keras.Model):
        operation = operation.outputs[0]._keras_history.operation
    name = getattr(getattr(operation, "activation", None), "__name__", type(operation).__name__)
    return name.lower() in ("softmax", "sigmoid")


def _pairs(labels: Any, outputs: Any) -> list[tuple[Any, Any]]:
    return list(zip(_flat(labels), _flat(outputs), strict=True))


def _flat(values: Any) -> Sequence[Any]:
    return keras.tree.flatten(values)


def _sum(terms: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(list(terms))


def _rows(labels: Any, logits: tf.Tensor) -> tf.Tensor:
    labels = tf.convert_to_tensor(labels)
    if labels.dtype.is_floating:
        return tf.cast(labels, tf.float32)
    if len(labels.shape) == len(logits.shape):
        labels = tf.squeeze(labels, -1)
    return tf.one_hot(labels, logits.shape[-1])


def _mean_over_positions(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)


def _squared_error(labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
    return _mean_over_positions(tf.square(tf.cast(labels, tf.float32) - tf.cast(outputs, tf.float32)))


def _negative_error(labels: Any, outputs: Any) -> tf.Tensor:
    return -_mean_over_positions(tf.abs(tf.cast(labels, tf.float32) - tf.cast(outputs, tf.float32)))


def _log(probabilities: tf.Tensor) -> tf.Tensor:
    return ops.log(ops.clip(probabilities, TINY, 1.0))
