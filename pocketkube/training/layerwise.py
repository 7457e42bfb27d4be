"""Optimizers for large batches, whose steps are in proportion to each kernel's own norm."""

import math
from typing import Any

import keras
import tensorflow as tf

from pocketkube.keras_private import has_weight_decay, place_among

# Of the papers.
LARS_COEFFICIENT = 1e-3
LAMB_EPSILON = 1e-6


class Lars(keras.optimizers.Optimizer):
    """Layer-wise adaptive rate scaling (You et al., 2017): momentum with a rate of each kernel's own.

    With the gradient `g`, the decay `d` and the momentum `m`, for each kernel `w`

        v ← m v + rate · 0.001 ‖w‖ / (‖g‖ + d ‖w‖) · (g + d w),   w ← w - v

    and momentum at a thousandth of the rate for variables that are spared weight decay: norms of
    scales, offsets, codebooks and step sizes say nothing of how far a step may go. At the whole rate,
    which is 10 and more, a bias that no normalization follows throws a network about.

    Args:
        momentum: `m`.
        decay: `d`. It is not Keras's `weight_decay`, which is subtracted apart from the gradient.
        settings: Those of all Keras optimizers.
    """

    def __init__(self, *, momentum: float, decay: float, **settings: Any) -> None:
        super().__init__(**settings)
        self._momentum, self._decay = momentum, decay

    def build(self, variables: Any) -> None:
        """See Keras."""
        if not self.built:
            super().build(variables)
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """See Keras."""
        gradient = tf.convert_to_tensor(gradient)
        rate = LARS_COEFFICIENT * tf.cast(learning_rate, variable.dtype)
        if has_weight_decay(self, variable):
            norm = tf.norm(variable)
            rate *= _ratio(norm, tf.norm(gradient) + self._decay * norm)
            gradient += self._decay * variable
        velocity = self.momentums[place_among(self, variable)].value
        velocity.assign(self._momentum * velocity + rate * gradient)
        variable.assign_sub(velocity)


class Lamb(keras.optimizers.Lamb):
    """Adam with the step of each kernel scaled to its norm (You et al., 2020).

    With Adam's step `r`, the mean of gradients over the root of that of their squares, and the decay
    `d`, for each kernel `w`

        w ← w - rate · ‖w‖ / ‖r + d w‖ · (r + d w)

    and `w ← w - rate · r` for variables that are spared weight decay. Keras's own has decay apart from
    the ratio, and the ratio for scales and offsets, too.

    Args:
        decay: `d`, see `Lars`.
        settings: Those of all Keras optimizers.
    """

    def __init__(self, *, decay: float, **settings: Any) -> None:
        super().__init__(epsilon=LAMB_EPSILON, **settings)
        self._decay = decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """See Keras."""
        gradient, rate = tf.convert_to_tensor(gradient), tf.cast(learning_rate, variable.dtype)
        place, step = place_among(self, variable), tf.cast(self.iterations + 1, variable.dtype)
        mean, square = self._momentums[place].value, self._velocities[place].value
        mean.assign_add((1 - self.beta_1) * (gradient - mean))
        square.assign_add((1 - self.beta_2) * (tf.square(gradient) - square))
        unbiased = mean / _lacking(self.beta_1, step), square / _lacking(self.beta_2, step)
        update = unbiased[0] / (tf.sqrt(unbiased[1]) + self.epsilon)
        if has_weight_decay(self, variable):
            update += self._decay * variable
            rate *= _ratio(tf.norm(variable), tf.norm(update))
        variable.assign_sub(rate * update)


def _lacking(beta: float, step: tf.Tensor) -> tf.Tensor:
    """`1 - beta^step`, of which the first steps would otherwise lose half the digits."""
    return -tf.math.expm1(step * math.log(beta))


def _ratio(norm: tf.Tensor, of_step: tf.Tensor) -> tf.Tensor:
    """The trust ratio; 1 where a kernel or its step is zero, so that zeros can be left."""
    return tf.where((norm > 0) & (of_step > 0), tf.math.divide_no_nan(norm, of_step), 1.0)
