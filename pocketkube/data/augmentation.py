"""Random changes to a batch of training images that follow from a seed and an example's place."""

from collections.abc import Sequence
from dataclasses import dataclass

import tensorflow as tf

from pocketkube.data.dataset import Examples
from pocketkube.errors import UserError
from pocketkube.spec.sections import Augmentation

# Labels of fewer rows or columns are no map of an image: two points are 2 x 2 numbers.
LEAST_MAP = 3


@dataclass(frozen=True)
class Draws:
    """The random numbers of a whole global batch: a row for each of its examples.

    Attributes:
        uniform: `[B, 5]` in [0, 1): shift down, shift right, flip, cutout's row and column.
        share: `[B]`: the part of itself that mixup leaves an example.
        windows: int32 `[B, 2]`: seeds of random crops.
    """

    uniform: tf.Tensor
    share: tf.Tensor
    windows: tf.Tensor


def draw(settings: Augmentation, batch_size: int, seed: tf.Tensor) -> Draws:
    """Draws for a batch from its seed, an int tensor of shape `[2]`."""
    uniform = tf.random.stateless_uniform([batch_size, 5], seed)
    of_windows = tf.random.experimental.stateless_fold_in(seed, 2)
    windows = tf.random.stateless_uniform([batch_size, 2], of_windows, None, None, tf.int32)
    if not settings.mixup:
        return Draws(uniform, tf.ones([batch_size]), windows)
    # Beta(a, a) as a ratio of two gammas; in float64, where a small a does not underflow.
    gammas = tf.random.stateless_gamma(
        [2, batch_size],
        tf.random.experimental.stateless_fold_in(seed, 1),
        tf.constant(settings.mixup, tf.float64),
        dtype=tf.float64,
    )
    share = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    return Draws(uniform, tf.cast(share, tf.float32), windows)


def random_window(shape: tf.Tensor, seed: tf.Tensor, least: float) -> tf.Tensor:
    """A random part of an image: from `least` of its area to all, 3:4 to 4:3 (Szegedy et al., 2015).

    Args:
        shape: The image's, `[3]`.
        seed: int32 `[2]`.
        least: The least part.

    Returns:
        int32 `[4]`: its first row and column, its height and width.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.zeros((1, 0, 4)),
        seed,
        min_object_covered=0.0,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(least, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    return tf.concat([begin[:2], size[:2]], 0)


def crop_images(images: tf.Tensor, least: float, seeds: tf.Tensor) -> tf.Tensor:
    """Random parts of images `[B, H, W, C]`, brought back to the whole size."""
    height, width, channels = images.shape[1:]
    whole = tf.constant([height, width, channels])
    windows = tf.map_fn(
        lambda seed: random_window(whole, seed, least),
        seeds,
        fn_output_signature=tf.TensorSpec((4,), tf.int32),
    )
    top, left, rows, columns = tf.unstack(tf.cast(windows, tf.float32), axis=1)
    down, across = rows / height, columns / width
    # From the middle of a pixel of the result to its place in the image.
    top, left = top + 0.5 * down - 0.5, left + 0.5 * across - 0.5
    zero = tf.zeros_like(down)
    matrices = [across, zero, left, zero, down, top, zero, zero]
    return _projected(images, matrices, "BILINEAR", "NEAREST")


def change_images(images: tf.Tensor, settings: Augmentation, uniform: tf.Tensor) -> tf.Tensor:
    """Shifts, flips and cuts holes into float32 images `[B, H, W, C]`; gaps are zeros.

    Cutout (DeVries and Taylor, 2017) takes its centre from the whole image, so that a square at
    the edge is cut off by it.
    """
    if settings.shift:
        images = _shifted(images, settings, uniform)
    elif settings.flip:
        images = _mirrored(images, uniform[:, 2] < 0.5)
    if settings.cutout:
        height, width = images.shape[1:3]
        rows = _outside(height, settings.cutout, uniform[:, 3])[:, :, None, None]
        columns = _outside(width, settings.cutout, uniform[:, 4])[:, None, :, None]
        images = tf.where(rows | columns, images, 0.0)
    return images


def change_maps(labels: tf.Tensor, settings: Augmentation, uniform: tf.Tensor) -> tf.Tensor:
    """Mirrors labels of pixels `[B, H, W]` or `[B, H, W, C]` as the images are."""
    if not settings.flip:
        return labels
    mirrored = tf.reshape(uniform[:, 2] < 0.5, [-1] + [1] * (len(labels.shape) - 1))
    return tf.where(mirrored, tf.reverse(labels, [2]), labels)


def mixed(ours: tf.Tensor, theirs: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Mixup (Zhang et al., 2018) of rows: share * ours + (1 - share) * theirs."""
    share = tf.reshape(share, [-1] + [1] * (len(ours.shape) - 1))
    return share * ours + (1.0 - share) * theirs


def refuse_unfit(settings: Augmentation, examples: Examples) -> None:
    """Says when the examples are none that can be so changed.

    Raises:
        UserError: If there is no image to shift, flip or cut, or an input that cannot be mixed.
    """
    inputs, labels = examples.element_spec
    images = [spec for spec in inputs if is_image(spec)]
    if not images and (settings.crop or settings.shift or settings.flip or settings.cutout):
        raise UserError(
            "training.augmentation: crop, shift, flip and cutout need images of shape (height, width, "
            f"channels). Received: inputs of {', '.join(str(tuple(s.shape)) for s in inputs)}."
        )
    if (settings.crop or settings.shift) and any(is_map(spec, images) for spec in labels):
        raise UserError(
            "training.augmentation: crop and shift would move images, but not their pixels' labels; "
            "use flip, cutout or mixup."
        )
    moves = settings.crop or settings.shift or settings.flip
    if moves and any(_is_flat_map(spec, images) for spec in labels):
        raise UserError(
            "training.augmentation: crop, shift and flip would move images, but not the labels of "
            "their pixels, which stand in one row: give them as (height, width), or leave these out."
        )
    if settings.mixup and any(not spec.dtype.is_floating for spec in inputs):
        raise UserError("training.augmentation: mixup needs inputs of real numbers, not integers.")


def is_map(labels: tf.TensorSpec, images: Sequence[tf.TensorSpec]) -> bool:
    """Whether one example's labels are of the pixels of an image, or of squares of pixels."""
    if len(labels.shape) not in (2, 3) or min(labels.shape[:2]) < LEAST_MAP:
        return False
    height, width = labels.shape[:2]
    return any(
        image.shape[0] % height == 0 and image.shape[0] * width == image.shape[1] * height
        for image in images
    )


def _is_flat_map(labels: tf.TensorSpec, images: Sequence[tf.TensorSpec]) -> bool:
    """Whether one example's labels are of all pixels of an image, one after the other."""
    shape = labels.shape
    return len(shape) in (1, 2) and any(shape[0] == image.shape[0] * image.shape[1] for image in images)


def is_image(spec: tf.TensorSpec) -> bool:
    """Whether one example's input is an image."""
    return len(spec.shape) == 3 and spec.dtype.is_floating


def _mirrored(images: tf.Tensor, which: tf.Tensor) -> tf.Tensor:
    """Those that `which` says, bool `[B]`, from right to left."""
    if images.shape[0] == 1:
        return tf.cond(which[0], lambda: tf.reverse(images[0], [1])[None], lambda: images)
    rows = tf.reshape(images, (-1, *images.shape[2:]))
    # Of three axes TensorFlow has a fast way, and of a condition for each image.
    mirrored = tf.reshape(tf.reverse(rows, [1]), tf.shape(images))
    return tf.raw_ops.Select(condition=which, x=mirrored, y=images)


def _shifted(images: tf.Tensor, settings: Augmentation, uniform: tf.Tensor) -> tf.Tensor:
    """One pass for both: an image moved by whole pixels and perhaps mirrored."""
    down, right = (
        tf.floor(uniform[:, axis] * (2 * settings.shift + 1)) - settings.shift for axis in (0, 1)
    )
    mirrored = (uniform[:, 2] < 0.5) & settings.flip
    across = tf.where(mirrored, -1.0, 1.0)
    right += tf.where(mirrored, float(images.shape[2] - 1), 0.0)
    zero, one = tf.zeros_like(down), tf.ones_like(down)
    matrices = [across, zero, right, zero, one, down, zero, zero]
    return _projected(images, matrices, "NEAREST", "CONSTANT")


def _projected(
    images: tf.Tensor, matrices: Sequence[tf.Tensor], interpolation: str, fill_mode: str
) -> tf.Tensor:
    """Each image seen through the rows of a 3 x 3 matrix from a place in the result to one in it."""
    seen = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(matrices, axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation=interpolation,
        fill_mode=fill_mode,
    )
    return tf.ensure_shape(seen, images.shape)


def _outside(length: int, side: int, uniform: tf.Tensor) -> tf.Tensor:
    """`[B, length]`: whether each place is outside a stretch of `side` around a random centre."""
    first = tf.floor(uniform * length) - side // 2
    places = tf.range(length, dtype=tf.float32)[None]
    return (places < first[:, None]) | (places >= first[:, None] + side)
