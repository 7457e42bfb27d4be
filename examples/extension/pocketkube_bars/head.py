"""How a direction is trained and scored in TensorFlow."""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from keras import ops

from pocketkube.training.heads import ValueHead
from pocketkube_bars.task import angles


@dataclass(frozen=True, eq=False)
class DirectionHead(ValueHead):
    """Gives a direction; the score is minus the angle to the true one, in radians."""

    def score(self, labels: Any, outputs: Any) -> tf.Tensor:
        """See `Head`."""
        return -angles(tf.cast(labels, tf.float32), tf.cast(outputs, tf.float32), ops)
