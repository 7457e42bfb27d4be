"""How many images of ImageNet's size the input pipeline decodes, crops and flips on one core.

    python -m tests.benchmarks.decoding

Beside it a bare loop over the same images in memory that decodes as large parts of them, by
tf.io.decode_and_crop_jpeg, brings these to 224 x 224, flips and casts, and one that leaves out bringing
them to a size, which no training can. Prints a Markdown table of images per second of processor time:
medians over rounds in which all take turns on one core.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import tensorflow as tf
from sklearn.datasets import load_sample_images

from pocketkube.data import Examples, load_dataset
from pocketkube.data.augmentation import random_window
from pocketkube.data.batches import batches
from pocketkube.spec.sections import Augmentation, DatasetSettings

IMAGES, ROUNDS, BATCH, SIZE, LEAST = 512, 5, 64, (224, 224), 0.08


def main() -> None:
    """Measures, and prints the table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = [_photo(number) for number in range(IMAGES)]
        _write(Path(folder) / "train-00000-of-00001", images)
        _write(Path(folder) / "validation-00000-of-00001", images[:8])
        _write(Path(folder) / "test-00000-of-00001", images[:8])
        examples = load_dataset(
            DatasetSettings(tfrecord=f"{folder}/*-of-*", image_size=SIZE, value_range=(-1.0, 1.0))
        ).train
        shape = tf.constant([*_SHAPE, 3])
        windows = [random_window(shape, tf.constant([0, n]), LEAST) for n in range(IMAGES)]
        ways = {
            "bare, without bringing to a size": partial(_bare, images, windows, None),
            "bare": partial(_bare, images, windows, SIZE),
            "pipeline": partial(_pipeline, examples),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(1 + ROUNDS):
            for name, way in ways.items():
                rate = _rate(partial(way, number))
                # The first round traces.
                rates[name] += [rate] if number else []
    print("| | images/s | pipeline over it |")
    print("| --- | --- | --- |")
    found = {name: median(each) for name, each in rates.items()}
    for name, rate in found.items():
        print(f"| {name} | {rate:.0f} | {found['pipeline'] / rate:.2f} |")


def _rate(read: Callable[[], int]) -> float:
    began = time.process_time()
    count = read()
    return count / (time.process_time() - began)


def _pipeline(examples: Examples, number: int) -> int:
    augmentation = Augmentation(crop=LEAST, flip=True)
    served = batches(examples, BATCH, epoch_seed=(0, number), augmentation=augmentation)
    return sum(int(inputs[0].shape[0]) for inputs, _ in served)


@tf.function
def _decoded(image: tf.Tensor, window: tf.Tensor, size: tuple[int, int] | None) -> tf.Tensor:
    pixels = tf.io.decode_and_crop_jpeg(image, window, channels=3)
    pixels = tf.cond(window[0] % 2 == 0, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cast(pixels if size is None else tf.image.resize(pixels, size), tf.float32)


def _bare(
    images: list[bytes], windows: list[tf.Tensor], size: tuple[int, int] | None, number: int
) -> int:
    for image, window in zip(images, windows, strict=True):
        _decoded(image, window, size)
    return len(images)


_SHAPE = (375, 500)


def _photo(number: int) -> bytes:
    """A photograph of ImageNet's usual size and some 50 to 100 kB."""
    photos = load_sample_images().images
    photo = photos[number % len(photos)]
    top, left = number % (photo.shape[0] - _SHAPE[0]), number % (photo.shape[1] - _SHAPE[1])
    part = photo[top : top + _SHAPE[0], left : left + _SHAPE[1]]
    return tf.io.encode_jpeg(part, quality=92).numpy()


def _write(file: Path, images: list[bytes]) -> None:
    with tf.io.TFRecordWriter(str(file)) as writer:
        for number, image in enumerate(images):
            features = {
                "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "image/class/label": tf.train.Feature(
                    int64_list=tf.train.Int64List(value=[number % 10])
                ),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


if __name__ == "__main__":
    main()
