"""Brings images to the size that a model takes."""

import numpy as np
import tensorflow as tf

_ROWS_AT_ONCE = 1024


def resized(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images `[N, H, W, C]` at another size, bilinear, averaging where they shrink; float32."""
    if images.shape[1:3] == size:
        return images
    parts = [
        tf.image.resize(images[start : start + _ROWS_AT_ONCE], size, antialias=True).numpy()
        for start in range(0, len(images), _ROWS_AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.zeros((0, *size, images.shape[3]), np.float32)


def padded(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Images `[N, H, W, C]` in the middle of a black frame of `size`, at least as large as they."""
    frame = [
        (wanted - have, (wanted - have) // 2)
        for wanted, have in zip(size, images.shape[1:3], strict=True)
    ]
    (rows, top), (columns, left) = frame
    return np.pad(images, ((0, 0), (top, rows - top), (left, columns - left), (0, 0)))
