"""Images of many sizes and forms: their middles, and random parts that follow from seed and place."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pocketkube.data import load_dataset
from pocketkube.data.batches import batches, materialize
from pocketkube.data.decoding import Form, image_in
from pocketkube.errors import UserError
from pocketkube.spec.sections import Augmentation, DatasetSettings
from tests.data.test_bad_examples import record, write

RNG = np.random.default_rng(5)
SMALL = RNG.integers(0, 255, (8, 10, 3)).astype(np.float32)


def pixels(height: int, width: int) -> np.ndarray:
    return np.clip(tf.image.resize(SMALL, (height, width), "bicubic"), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("encode", [tf.io.encode_jpeg, tf.io.encode_png])
@pytest.mark.parametrize("window", [(0, 0, 40, 30), (13, 27, 17, 21), (63, 79, 1, 1)])
def test_a_part_is_what_the_whole_has_there(encode, window: tuple[int, int, int, int]) -> None:
    encoded = encode(pixels(64, 80)).numpy()
    top, left, height, width = window
    whole = tf.io.decode_image(encoded).numpy()[top : top + height, left : left + width]
    form = Form((height, width), 3, (0.0, 255.0))
    part = image_in(encoded, form, lambda shape: tf.constant(window))
    # The colours of a JPEG are stored for two pixels each: at a cut between them one is not known.
    known = slice(0, -1 if encode is tf.io.encode_jpeg and left + width < 80 else None)
    np.testing.assert_array_equal(part[:, known], whole[:, known])


@pytest.mark.parametrize(
    ("have", "size", "middle"),
    [
        ((256, 320), (224, 224), (16, 48, 224, 224)),
        ((320, 256), (224, 224), (48, 16, 224, 224)),
        ((64, 80), (28, 56), (14, 5, 35, 70)),
    ],
)
def test_the_middle_is_of_the_shape_that_is_asked_for(
    have: tuple[int, int], size: tuple[int, int], middle: tuple[int, int, int, int]
) -> None:
    encoded = tf.io.encode_png(pixels(*have)).numpy()
    top, left, height, width = middle
    part = pixels(*have)[top : top + height, left : left + width]
    expected = tf.image.resize(part, size, antialias=True)
    got = image_in(encoded, Form(size, 3, (0.0, 255.0), 0.875))
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_random_parts_of_records_are_the_same_whoever_decodes_them(tmp_path: Path) -> None:
    sizes = [(40 + 7 * (n % 5), 50 + 5 * (n % 3)) for n in range(60)]
    encode = (tf.io.encode_jpeg, tf.io.encode_png)
    images = [encode[n % 2](pixels(*size)).numpy() for n, size in enumerate(sizes)]
    write(tmp_path / "a", [record(image, 1 + n % 3) for n, image in enumerate(images)])
    settings = {"image_size": (24, 24), "central_crop": 0.875, "first_label": 1}
    dataset = load_dataset(DatasetSettings(tfrecord=str(tmp_path / "a"), **settings))
    assert dataset.labels[0].num_classes == 3
    augmented = {"epoch_seed": (1, 2), "augmentation": Augmentation(crop=0.08, flip=True, mixup=0.2)}
    whole = list(batches(dataset.train, 8, **augmented))
    parts = [list(batches(dataset.train, 8, rank=rank, ranks=3, **augmented)) for rank in range(3)]
    for number, ((x,), (y,)) in enumerate(whole):
        for rank, part in enumerate(parts):
            (mine,), (label,) = part[number]
            np.testing.assert_array_equal(mine, x[rank::3])
            np.testing.assert_array_equal(label, y[rank::3])
    ((late,), _), *_ = batches(dataset.train, 8, skip=2, **augmented)
    np.testing.assert_array_equal(late, whole[2][0][0])
    (plain,), _ = materialize(dataset.train, None, 0)
    assert not np.isclose(whole[0][0][0][0], plain[0]).all()


def test_labels_below_the_first_are_told(tmp_path: Path) -> None:
    images = [tf.io.encode_png(pixels(8, 8 + n)).numpy() for n in range(60)]
    write(tmp_path / "a", [record(image, n % 3) for n, image in enumerate(images)])
    with pytest.raises(UserError, match=r"labels must be 1 or more. Received: 0."):
        load_dataset(DatasetSettings(tfrecord=str(tmp_path / "a"), image_size=(8, 8), first_label=1))


def test_what_has_no_encoded_images_has_no_middle() -> None:
    with pytest.raises(ValueError, match="central_crop is for image_folder and tfrecord, and needs im"):
        DatasetSettings(npz="a.npz", image_size=(8, 8), central_crop=0.875)
    with pytest.raises(ValueError, match="image_size does not go with npz, whose arrays are taken as"):
        DatasetSettings(npz="a.npz", image_size=(8, 8))
    with pytest.raises(ValueError, match="and needs image_size"):
        DatasetSettings(tfrecord="a", central_crop=0.875)
    with pytest.raises(ValueError, match="first_label is for tfrecord"):
        DatasetSettings(image_folder="a", first_label=1)
