"""What the numbers of a LiteRT file may be; nothing here imports TensorFlow or Keras."""

from typing import Literal

NumberFormat = Literal["float32", "float16", "dynamic", "int8"]
EndType = Literal["float32", "int8", "uint8"]
# Of LiteRT's integer activations.
LITERT_BITS = 8
