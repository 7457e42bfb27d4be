"""Small data in ImageNet's layout: files of records by split, JPEGs of many sizes, labels from 1."""

from pathlib import Path

import numpy as np
import tensorflow as tf


def write_imagenet(folder: Path, classes: int, train: int, validation: int, shards: int = 2) -> None:
    """Writes images of stripes on noise, whose classes are told by the stripes' direction and colour.

    Args:
        folder: Where to; created.
        classes: How many.
        train: Images to train on.
        validation: Images to validate with.
        shards: Files of each split.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("validation", validation)):
        for shard in range(shards):
            file = folder / f"{split}-{shard:05d}-of-{shards:05d}"
            with tf.io.TFRecordWriter(str(file)) as writer:
                for number in range(shard, count, shards):
                    writer.write(
                        _record(_image(number // shards % classes, rng), number // shards % classes)
                    )


def _image(label: int, rng: np.random.Generator) -> bytes:
    height, width = rng.integers(40, 72, 2)
    down, across = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    place = down if label % 2 else across
    stripes = np.sin(place * rng.uniform(0.7, 0.9) + rng.uniform(0, 6))
    colour = np.array([1.0, -1.0, 0.0] if label // 2 % 2 else [-1.0, 0.0, 1.0])
    pixels = 128 + 60 * stripes[..., None] + 25 * colour + rng.normal(0, 20, (height, width, 3))
    return tf.io.encode_jpeg(np.clip(pixels, 0, 255).astype(np.uint8)).numpy()


def _record(image: bytes, label: int) -> bytes:
    features = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "image/format": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"JPEG"])),
        "image/colorspace": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"RGB"])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1 + label])),
        "image/class/synset": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"n%08d" % label])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()
