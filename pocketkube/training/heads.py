"""The heads of all kinds: those of values and of points, and any of them made again of its config."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from pocketkube.errors import UserError
from pocketkube.extension import tasks
from pocketkube.measures import Classes, Maps, MultiLabel, Points, Values, measure_of
from pocketkube.measures.points import normalized_errors
from pocketkube.training.class_heads import ClassHead, MapHead, MultiLabelHead
from pocketkube.training.head import Head, mean_over_positions, of_shape

__all__ = ["HEADS", "ClassHead", "Head", "PointHead", "ValueHead", "head_of_config"]


@dataclass(frozen=True, eq=False)
class ValueHead(Head):
    """Gives values; the score is minus the absolute error."""

    def losses(self, labels: Any, outputs: Any, smoothing: float = 0.0) -> tf.Tensor:
        """See `Head`."""
        return self._loss_of(of_shape(labels, outputs), outputs)

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        errors = tf.cast(of_shape(labels, outputs), tf.float32) - tf.cast(outputs, tf.float32)
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
    Maps.kind: MapHead,
    MultiLabel.kind: MultiLabelHead,
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
    if config.get("class_weights"):
        own["class_weights"] = tuple(config["class_weights"])
    try:
        loss = keras.saving.deserialize_keras_object(config["loss"])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"The loss of output {config['name']} is not known here: decorate it with "
            "@keras.saving.register_keras_serializable() and import its module before."
        ) from error
    return kind(config["name"], measure_of(config), loss, config["weight"], **own)
