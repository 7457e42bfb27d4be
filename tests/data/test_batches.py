import numpy as np
import pytest
import tensorflow as tf

from pocketkube.data.batches import batches, materialize
from pocketkube.data.dataset import Examples, Labels
from pocketkube.data.in_memory import examples_of_arrays
from pocketkube.errors import UserError
from pocketkube.spec.sections import Augmentation

EVERYTHING = Augmentation(crop=0.3, shift=2, flip=True, cutout=3, mixup=0.4)


def images(count: int = 22) -> Examples:
    x = np.random.default_rng(0).random((count, 8, 8, 1), dtype=np.float32) + 1.0
    return examples_of_arrays((x,), (np.arange(count, dtype=np.int32) % 5,), (Labels(5),))


def streamed(examples: Examples, seen: list[int] | None = None) -> Examples:
    """The same examples, told by their places until they are decoded; `seen` notes which are."""
    assert examples.arrays is not None
    (x,), (y,) = examples.arrays

    def decode(place: tf.Tensor) -> tuple:
        def read(number: int) -> tuple:
            if seen is not None:
                seen.append(int(number))
            return x[number], y[number]

        image, label = tf.numpy_function(read, [place], [x.dtype, y.dtype])
        return (tf.ensure_shape(image, x.shape[1:]),), (tf.ensure_shape(label, ()),)

    def open_places() -> tf.data.Dataset:
        return tf.data.Dataset.range(examples.size).map(lambda place: (place,))

    return Examples(examples.size, open_places, None, examples.labels, decode=decode)


def served(examples, batch_size=8, **settings):
    return [(x.numpy(), y.numpy()) for (x,), (y,) in batches(examples, batch_size, **settings)]


def assert_same(left, right):
    assert len(left) == len(right)
    for (x, y), (other_x, other_y) in zip(left, right, strict=True):
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y, other_y)


@pytest.fixture(params=["arrays", "stream"])
def examples(request):
    return images() if request.param == "arrays" else streamed(images())


def test_keeps_the_order_without_a_seed_and_serves_the_last_part(examples):
    got = served(examples)
    assert [len(x) for x, _ in got] == [8, 8, 6]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in got]), images().arrays[0][0])
    assert got[0][1].dtype == np.int32
    assert [len(x) for x, _ in served(examples, drop_remainder=True)] == [8, 8]


def test_the_seed_and_the_epoch_say_the_order(examples):
    first = served(examples, epoch_seed=(1, 0), augmentation=EVERYTHING)
    assert_same(first, served(examples, epoch_seed=(1, 0), augmentation=EVERYTHING))
    for other in ((1, 1), (2, 0)):
        again = served(examples, epoch_seed=other, augmentation=EVERYTHING)
        assert not np.array_equal(first[0][0], again[0][0])
    plain = np.concatenate([x for x, _ in served(examples, epoch_seed=(1, 0))])
    assert not np.array_equal(plain, images().arrays[0][0])
    np.testing.assert_array_equal(np.sort(plain.ravel()), np.sort(images().arrays[0][0].ravel()))


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_together_see_what_one_sees(examples, ranks):
    settings = {"epoch_seed": (3, 1), "augmentation": EVERYTHING}
    whole = served(examples, **settings)
    parts = [served(examples, rank=rank, ranks=ranks, **settings) for rank in range(ranks)]
    for number, (x, y) in enumerate(whole):
        for rank, part in enumerate(parts):
            np.testing.assert_array_equal(part[number][0], x[rank::ranks])
            np.testing.assert_array_equal(part[number][1], y[rank::ranks])


@pytest.mark.parametrize("of", [images, lambda count: streamed(images(count))])
def test_a_rank_may_be_left_without_rows(of):
    settings = {"epoch_seed": (3, 1), "augmentation": EVERYTHING}
    got = [served(of(9), rank=rank, ranks=2, **settings) for rank in (0, 1)]
    assert [[len(x) for x, _ in part] for part in got] == [[4, 1], [4, 0]]
    assert [len(x) for x, _ in served(of(9), rank=1, ranks=2, skip=1, **settings)] == [0]
    assert [len(x) for x, _ in served(of(9), rank=9, ranks=10, **settings)] == [0, 0]


def test_skipping_is_dropping(examples):
    settings = {"epoch_seed": (3, 1), "augmentation": EVERYTHING}
    assert_same(served(examples, skip=2, **settings), served(examples, **settings)[2:])
    assert served(examples, skip=9, **settings) == []
    assert len(batches(examples, 8, skip=1)) == 2


def test_a_rank_decodes_its_own_rows_and_nothing_that_is_skipped():
    whole, parts = list[int](), [list[int](), list[int]()]
    batched = served(streamed(images(), whole), epoch_seed=(3, 1))
    for rank, seen in enumerate(parts):
        served(streamed(images(), seen), epoch_seed=(3, 1), rank=rank, ranks=2)
    assert sorted(whole) == sorted(parts[0] + parts[1]) == list(range(22))
    late = list[int]()
    served(streamed(images(), late), epoch_seed=(3, 1), skip=2)
    # Rows are decoded side by side, in any order.
    left = {row.tobytes() for x, _ in batched[2:] for row in x}
    wanted = [n for n, x in enumerate(images().arrays[0][0]) if x.tobytes() in left]
    assert sorted(late) == wanted
    assert len(late) == 6


def test_mixup_decodes_partners_too_and_none_twice():
    settings = {"epoch_seed": (3, 1), "augmentation": Augmentation(mixup=0.4)}
    alone, shared = list[int](), list[int]()
    served(streamed(images(), alone), **settings)
    assert sorted(alone) == list(range(22))
    served(streamed(images(), shared), rank=1, ranks=4, **settings)
    # Rows 1 and 5 of each 8 and those behind them; of the last 6 row 5's partner is row 0.
    assert len(shared) == len(set(shared)) == 3 * 4


def test_choosing_examples_decodes_no_others():
    seen = list[int]()
    materialize(streamed(images(), seen), 7, seed=2)
    assert len(seen) == 7


def test_mixup_mixes_labels_as_it_mixes_images():
    # Every pixel is its own label's value, so that the image tells what the label must be.
    labels = np.arange(16, dtype=np.int32) % 2
    x = np.broadcast_to(labels[:, None, None, None], (16, 4, 4, 1)).astype(np.float32)
    got = served(
        examples_of_arrays((x,), (labels,), (Labels(2),)),
        16,
        epoch_seed=(0, 0),
        augmentation=Augmentation(mixup=1.0),
    )
    pixels, rows = got[0]
    assert rows.dtype == np.float32
    assert rows.shape == (16, 2)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(pixels[:, 0, 0, 0], rows[:, 1], atol=1e-6)
    assert ((rows > 0.05) & (rows < 0.95)).any()


def test_shift_moves_by_whole_pixels_and_fills_with_zeros():
    source = images()
    ordered = served(source, 22, epoch_seed=(5, 0))[0][0]
    moved = served(source, 22, epoch_seed=(5, 0), augmentation=Augmentation(shift=2))[0][0]
    offsets = set()
    for before, after in zip(ordered, moved, strict=True):
        frame = np.pad(before, ((2, 2), (2, 2), (0, 0)))
        hits = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if np.array_equal(frame[down : down + 8, right : right + 8], after)
        ]
        assert len(hits) == 1
        offsets.update(hits)
    assert len(offsets) > 8


def test_a_crop_is_of_the_area_and_shape_that_are_asked_for_and_nowhere_else():
    down, across = np.meshgrid(np.arange(64), np.arange(96), indexing="ij")
    pixels = np.stack([down, across, np.zeros_like(down)], -1).astype(np.float32)
    source = examples_of_arrays(
        (np.repeat(pixels[None], 40, 0),), (np.arange(40, dtype=np.int32) % 5,), (Labels(5),)
    )
    settings = {"epoch_seed": (5, 0), "augmentation": Augmentation(crop=0.25)}
    got = served(source, 40, **settings)[0][0]
    # Of a ramp, the slope tells the size and the middle the place.
    height = (got[:, 40, 0, 0] - got[:, 20, 0, 0]) / 20 * 64
    width = (got[:, 0, 60, 1] - got[:, 0, 30, 1]) / 30 * 96
    top, left = got[:, 31:33, 0, 0].mean(1) - height / 2, got[:, 0, 47:49, 1].mean(1) - width / 2
    for each in (height, width):
        np.testing.assert_allclose(each, np.round(each), atol=1e-3)
    # Whole pixels: a row or column more or less.
    part = height * width / (64 * 96)
    assert ((part > 0.23) & (part <= 1)).all()
    assert part.min() < 0.45 < 0.7 < part.max()
    assert ((width / height > 0.7) & (width / height < 1.4)).all()
    assert ((top >= -0.51) & (left >= -0.51) & (top + height <= 64) & (left + width <= 96)).all()
    assert len(np.unique(np.round(left))) > 10


def test_flip_mirrors_about_half():
    ordered = served(images(), 22, epoch_seed=(5, 0))[0][0]
    flipped = served(images(), 22, epoch_seed=(5, 0), augmentation=Augmentation(flip=True))[0][0]
    mirrored = 0
    for before, after in zip(ordered, flipped, strict=True):
        same, other = np.array_equal(after, before), np.array_equal(after, before[:, ::-1])
        assert same != other
        mirrored += other
    assert 5 <= mirrored <= 17


def test_cutout_zeroes_a_square():
    settings = {"epoch_seed": (5, 0), "augmentation": Augmentation(cutout=3)}
    gone = [np.argwhere(x[..., 0] == 0) for x in served(images(), 22, **settings)[0][0]]
    for places in gone:
        extent = places.max(axis=0) - places.min(axis=0) + 1
        assert len(places) == extent.prod()
        assert (extent <= 3).all()
    assert max(map(len, gone)) == 9


def test_materialize_chooses_without_repeating(examples):
    (x,), (y,) = materialize(examples, 7, seed=2)
    assert x.shape == (7, 8, 8, 1)
    assert y.shape == (7,)
    assert len(np.unique(x.reshape(7, -1), axis=0)) == 7
    np.testing.assert_array_equal(x, materialize(streamed(images()), 7, seed=2)[0][0])
    assert not np.array_equal(x, materialize(examples, 7, seed=3)[0][0])
    np.testing.assert_array_equal(materialize(examples, None, 0)[0][0], images().arrays[0][0])


def test_refuses_what_cannot_be_augmented():
    rows = examples_of_arrays((np.zeros((4, 3), np.float32),), (np.zeros(4, np.int32),), (Labels(2),))
    with pytest.raises(
        UserError, match=r"crop, shift, flip and cutout need images .* Received: inputs of \(3,\)"
    ):
        batches(rows, 2, epoch_seed=(0, 0), augmentation=Augmentation(shift=1))
    tokens = examples_of_arrays((np.zeros((4, 3), np.int32),), (np.zeros(4, np.int32),), (Labels(2),))
    with pytest.raises(UserError, match="mixup needs inputs of real numbers"):
        batches(tokens, 2, epoch_seed=(0, 0), augmentation=Augmentation(mixup=0.2))
    with pytest.raises(ValueError, match="augmentation needs epoch_seed"):
        batches(images(), 2, augmentation=EVERYTHING)


def test_is_a_tf_dataset_with_static_image_shapes():
    (x,), (y,) = batches(images(), 8, epoch_seed=(0, 0), augmentation=EVERYTHING).stream.element_spec
    assert x.shape.as_list() == [None, 8, 8, 1]
    assert y.shape.as_list() == [None, 5]
    assert y.dtype == tf.float32


def test_labels_of_pixels_are_mirrored_with_their_image() -> None:
    maps = np.arange(40 * 4 * 4, dtype=np.int32).reshape(40, 4, 4)
    images = maps[..., None].astype(np.float32)
    kinds = (Labels(640, shape=(4, 4)), Labels(640, shape=(4, 4, 1)), Labels(None, shape=(1,)))
    labels = (maps, maps[..., None], images[:, 0, 0])
    examples = examples_of_arrays((images,), labels, kinds)
    served = batches(examples, 40, epoch_seed=(0, 0), augmentation=Augmentation(flip=True))
    ((x,), (y, column, corner)) = next(iter(served.stream.as_numpy_iterator()))
    np.testing.assert_array_equal(x[..., 0], y)
    np.testing.assert_array_equal(x, column)
    mirrored = x[:, 0, 0] != corner
    assert 0 < mirrored.sum() < 40
    with pytest.raises(UserError, match="crop and shift would move images"):
        batches(examples, 40, epoch_seed=(0, 0), augmentation=Augmentation(shift=1))


@pytest.mark.parametrize("rest", [(), (1,), (3,)])
def test_labels_of_pixels_in_one_row_are_not_left_behind(rest: tuple[int, ...]) -> None:
    labels = np.zeros((8, 16, *rest), np.float32)
    examples = examples_of_arrays(
        (np.zeros((8, 4, 4, 1), np.float32),), (labels,), (Labels(None, shape=labels.shape[1:]),)
    )
    batches(examples, 8, epoch_seed=(0, 0), augmentation=Augmentation(cutout=1))
    with pytest.raises(UserError, match=r"labels of their pixels, which stand in one row"):
        batches(examples, 8, epoch_seed=(0, 0), augmentation=Augmentation(flip=True))


def test_labels_of_squares_of_pixels_are_mirrored_with_their_image() -> None:
    rng = np.random.default_rng(0)
    coarse = rng.random((40, 4, 6, 2), np.float32)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    # Numbers that are of no place in the image: a vector, and two points.
    others = (coarse[:, 0, 0], coarse[:, :2, 0])
    kinds = tuple(Labels(None, shape=each.shape[1:]) for each in (coarse, *others))
    examples = examples_of_arrays((images,), (coarse, *others), kinds)
    served = batches(examples, 40, epoch_seed=(0, 0), augmentation=Augmentation(flip=True))
    ((x,), (y, vector, points)) = next(iter(served.stream.as_numpy_iterator()))
    np.testing.assert_array_equal(x[:, ::4, ::4], y)
    mirrored = (y[:, 0, 0] != vector).any(axis=-1)
    assert 0 < mirrored.sum() < 40
    np.testing.assert_array_equal(points[:, 0], vector)
    with pytest.raises(UserError, match="crop and shift would move images"):
        batches(examples, 40, epoch_seed=(0, 0), augmentation=Augmentation(shift=1))
