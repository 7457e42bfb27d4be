"""The layers that the reference networks are put together from, each with its own seed."""

import keras
import numpy as np
from keras import layers


class LayerFactory:
    """Makes layers whose initial kernels follow from one seed and from the order of the calls."""

    def __init__(self, width: float, seed: int, *, small_input: bool):
        self.width = width
        self.small_input = small_input
        self._generator = np.random.default_rng(seed)

    def channels(self, count: int) -> int:
        """`count` times the width multiplier, at least 1."""
        return max(1, round(count * self.width))

    def channels_by_8(self, count: int) -> int:
        """`count` times the width, to a multiple of 8, never 10 % below it (MobileNetV2's rule)."""
        wanted = count * self.width
        rounded = max(8, int(wanted + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * wanted else rounded

    def conv(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel: int,
        name: str,
        *,
        strides: int = 1,
        activation: str | None = "relu",
        even_padding: bool = False,
        starts_as_zero: bool = False,
    ) -> keras.KerasTensor:
        """Convolution without bias, BatchNorm, and "relu", "relu6" or nothing.

        `even_padding` puts as many zeros on each side, where "same" may put more below and right.
        `starts_as_zero` makes all that comes out of it zero at first, by BatchNorm's scale.
        """
        x, padding = self._padded(x, kernel, strides, name) if even_padding else (x, "same")
        x = layers.Conv2D(
            filters,
            kernel,
            strides,
            padding=padding,
            use_bias=False,
            kernel_initializer=self._he_normal(),
            name=f"{name}_conv",
        )(x)
        return self._normalised(x, name, activation, "zeros" if starts_as_zero else "ones")

    def depthwise(self, x: keras.KerasTensor, name: str, *, strides: int = 1) -> keras.KerasTensor:
        """3x3 depthwise convolution without bias, evenly padded, BatchNorm and ReLU6."""
        x, padding = self._padded(x, 3, strides, name)
        x = layers.DepthwiseConv2D(
            3,
            strides,
            padding=padding,
            use_bias=False,
            # Keras takes the fan-in of a depthwise kernel times the channels; each output sees 9.
            depthwise_initializer=keras.initializers.RandomNormal(
                stddev=(2.0 / 9.0) ** 0.5, seed=self._seed()
            ),
            name=f"{name}_depthwise",
        )(x)
        return self._normalised(x, name, "relu6")

    def dense(
        self, x: keras.KerasTensor, units: int, name: str, activation: str | None = None
    ) -> keras.KerasTensor:
        """A Dense layer with bias."""
        return layers.Dense(
            units, activation=activation, kernel_initializer=self._he_normal(), name=name
        )(x)

    def conv_with_bias(
        self, x: keras.KerasTensor, filters: int, kernel: int, name: str, *, padding: str
    ) -> keras.KerasTensor:
        """Convolution with bias and ReLU, for networks from before BatchNorm."""
        return layers.Conv2D(
            filters,
            kernel,
            padding=padding,
            activation="relu",
            kernel_initializer=self._he_normal(),
            name=name,
        )(x)

    def _padded(
        self, x: keras.KerasTensor, kernel: int, strides: int, name: str
    ) -> tuple[keras.KerasTensor, str]:
        if strides == 1:
            return x, "same"
        return layers.ZeroPadding2D(kernel // 2, name=f"{name}_padding")(x), "valid"

    def _normalised(
        self, x: keras.KerasTensor, name: str, activation: str | None, scale: str = "ones"
    ) -> keras.KerasTensor:
        x = layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, gamma_initializer=scale, name=f"{name}_norm"
        )(x)
        if activation is None:
            return x
        return layers.ReLU(6.0 if activation == "relu6" else None, name=f"{name}_{activation}")(x)

    def _he_normal(self) -> keras.Initializer:
        return keras.initializers.HeNormal(seed=self._seed())

    def _seed(self) -> int:
        return int(self._generator.integers(2**31 - 1))
