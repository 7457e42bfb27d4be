"""Activations that Keras 3 computes otherwise than Keras 2 did."""

import keras


@keras.saving.register_keras_serializable("pocketkube", "hard_sigmoid_of_keras_2")
def hard_sigmoid_of_keras_2(x):  # type: ignore[no-untyped-def]
    """`min(max(0.2 x + 0.5, 0), 1)`; Keras 3's has the slope 1/6."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)
