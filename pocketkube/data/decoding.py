"""Decodes images to the form that all of a data set have, as a whole or a part of each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tensorflow as tf

# From an image's shape `[3]` to a part of it, int32 `[4]`: first row and column, height and width.
Window = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Form:
    """What every image is brought to.

    Attributes:
        size: Height and width in pixels.
        channels: How many; 0 for as many as each has.
        value_range: What 0 and 255 become.
        central_crop: The part of the largest middle of that shape that is kept; None keeps all.
    """

    size: tuple[int, int]
    channels: int
    value_range: tuple[float, float]
    central_crop: float | None = None


def image_in(
    encoded: tf.Tensor | bytes,
    form: Form,
    window: Window | None = None,
    *,
    needed_size: tuple[int, int] | None = None,
) -> tf.Tensor:
    """An encoded image in its form, float32 `[height, width, channels]`.

    Args:
        encoded: A PNG, JPEG, GIF or BMP file.
        form: The form.
        window: The part of it to decode; by default what the form says.
        needed_size: Height and width that it has to have; None for any. Not asked of a part.

    Raises:
        OpError: If it is broken, or its format cannot be decoded to so many channels.
    """
    middle = partial(_middle, form=form) if form.central_crop is not None else None
    if part := window or middle:
        pixels = _part_of(encoded, form.channels, part)
    else:
        pixels = decoded(encoded, form.channels)
        if needed_size is not None:
            tf.debugging.assert_equal(tf.shape(pixels)[:2], needed_size, "images differ in size")
    pixels.set_shape((None, None, form.channels or None))
    low, high = form.value_range
    # Without averaging where an image shrinks, thin lines would vanish. Random parts shrink less, are
    # of many scales, and have to be quick.
    scaled = tf.image.resize(pixels, form.size, antialias=window is None)
    return scaled * ((high - low) / 255.0) + low


def decoded(image: tf.Tensor | bytes, channels: int) -> tf.Tensor:
    """The pixels of an encoded image; of so many channels, or as many as it has where that is 0."""
    return tf.io.decode_image(image, channels=channels, expand_animations=False)


def _part_of(image: tf.Tensor | bytes, channels: int, window: Window) -> tf.Tensor:
    """A part's pixels: of a JPEG no more is decoded than it takes."""

    def of_jpeg() -> tf.Tensor:
        return tf.io.decode_and_crop_jpeg(
            image, window(tf.io.extract_jpeg_shape(image)), channels=channels
        )

    def of_others() -> tf.Tensor:
        pixels = decoded(image, channels)
        top, left, height, width = tf.unstack(window(tf.shape(pixels)), num=4)
        return pixels[top : top + height, left : left + width]

    return tf.cond(tf.io.is_jpeg(image), of_jpeg, of_others)


def _middle(shape: tf.Tensor, form: Form) -> tf.Tensor:
    """The middle of an image in the form's own shape: with 0.875, 224 of 256 pixels."""
    assert form.central_crop is not None
    have, wanted = tf.cast(shape[:2], tf.float32), tf.constant(form.size, tf.float32)
    size = tf.round(wanted * tf.reduce_min(have / wanted) * form.central_crop)
    size = tf.maximum(tf.cast(size, tf.int32), 1)
    return tf.concat([(shape[:2] - size) // 2, size], 0)
