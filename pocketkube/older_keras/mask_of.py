"""A layer that gives masks, for calls in which Keras 2 found them by itself and Keras 3 does not."""

from typing import Any

import keras


class OfKeras2:
    """What marks the layers that stand where masks arrive in a model of Keras 2."""

    name: str


@keras.saving.register_keras_serializable("pocketkube")
class MaskOf(OfKeras2, keras.layers.Layer):
    """Gives a tensor's mask: Keras 3 finds none where a layer takes a state beside a sequence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.supports_masking = True

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of `inputs`: which steps count."""
        if mask is not None:
            return mask
        flat = keras.ops.reshape(inputs, (*keras.ops.shape(inputs)[:2], -1))
        return keras.ops.ones_like(flat[..., 0], dtype="bool")

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """None: a mask has none."""
