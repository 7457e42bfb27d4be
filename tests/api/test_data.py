"""Each form of data is the same examples in the same splits."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import Field

import pocketkube as pk
from pocketkube.api.data import Splits, are_split, dataset_of, inputs_of
from pocketkube.data.dataset import Dataset
from pocketkube.data.in_memory import Labelled, in_memory_dataset
from pocketkube.errors import UserError
from pocketkube.extension import datasets
from pocketkube.spec.sections import AddedDataset, DatasetSettings

RNG = np.random.default_rng(0)
X, Z = RNG.random((50, 6), dtype=np.float32), RNG.random((50, 3), dtype=np.float32)
Y = np.arange(50) % 3


def network() -> keras.Model:
    given = keras.Input((6,), name="x")
    return keras.Model(given, keras.layers.Dense(3)(given))


def two_inputs() -> keras.Model:
    x, z = keras.Input((6,), name="wide"), keras.Input((3,), name="narrow")
    return keras.Model([x, z], keras.layers.Dense(3)(keras.layers.Concatenate()([x, z])))


class Batches(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, number: int):
        part = slice(number * 8, (number + 1) * 8)
        return X[part], Y[part]


def assert_same(found: Dataset, wanted: Dataset) -> None:
    for ours, theirs in zip(
        (found.train, found.validation, found.test),
        (wanted.train, wanted.validation, wanted.test),
        strict=True,
    ):
        assert ours.size == theirs.size > 0
        for a, b in zip(sum(ours.arrays, ()), sum(theirs.arrays, ()), strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.dtype == b.dtype


@pytest.fixture(scope="module")
def spec_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(file, x=X, y=Y)
    return file


@pytest.mark.parametrize(
    "form",
    [
        lambda file: (X, Y),
        lambda file: (X.astype("float64"), list(Y)),
        lambda file: ([X], [Y]),
        lambda file: (X.tolist(), Y.tolist()),
        lambda file: (list(X), list(Y)),
        lambda file: ({"x": X}, Y),
        lambda file: (tf.constant(X), tf.constant(Y)),
        lambda file: Splits((X, Y)),
        lambda file: tf.data.Dataset.from_tensor_slices((X, Y)),
        lambda file: tf.data.Dataset.from_tensor_slices((X, Y)).batch(8),
        lambda file: tf.data.Dataset.from_tensor_slices(({"x": X}, Y)).batch(8),
        lambda file: Batches(),
        lambda file: file,
        lambda file: str(file),
        lambda file: {"npz": str(file)},
        lambda file: {"npz": file},
        lambda file: DatasetSettings(npz=str(file)),
    ],
)
def test_each_form_gives_the_splits_that_a_spec_gives(form, spec_file) -> None:
    wanted = dataset_of(DatasetSettings(npz=str(spec_file)), None, "test")
    data = form(spec_file)
    assert are_split(data)
    assert_same(dataset_of(data, network(), "test"), wanted)
    assert_same(dataset_of(data, network(), "test"), dataset_of(data, network(), "test"))


class Counted(AddedDataset):
    """Rows of numbers, the last of them told by its number."""

    count: int = Field(50, ge=20)

    def load(self, settings: DatasetSettings) -> Dataset:
        rows = Labelled((X[: self.count],), (Y[: self.count],))
        return in_memory_dataset("counted", rows, None, settings, lambda x: x)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for known in ("_found", "_decorated"):
        monkeypatch.setattr(datasets, known, dict(getattr(datasets, known)))
    datasets.register("counted")(Counted)


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("data", "count"),
    [
        ("counted", 50),
        ({"counted": {}}, 50),
        ({"counted": None}, 50),
        ({"counted": {"count": 30}, "test_fraction": 0.1}, 30),
        ({"added": {"counted": {"count": 30}}}, 30),
    ],
    ids=str,
)
def test_a_data_set_that_a_notebook_adds_goes_by_its_name(data: object, count: int) -> None:
    assert are_split(data)
    found = dataset_of(data, network(), "test")
    assert (found.name, found.train.size + found.validation.size + found.test.size) == (
        "counted",
        count,
    )


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"counted": {"count": 2}}, "test: data: counted.count: must be at least 20; received 2"),
        ({"counted": {"cuont": 30}}, "test: data: counted.cuont: is not a known key; did you mean"),
        ({"counter": {"count": 30}}, "test: data: counter: is not a known key; use one of builtin"),
        ("counter", "test: data: builtin: 'counter' is not known; use one of"),
    ],
    ids=str,
)
def test_what_is_wrong_with_such_a_data_set_is_told(data: object, said: str) -> None:
    with pytest.raises(UserError) as error:
        dataset_of(data, network(), "test")
    assert said in str(error.value)


def test_several_inputs_follow_the_models_order_whatever_the_structure() -> None:
    wanted = dataset_of(([X, Z], Y), two_inputs(), "test")
    assert wanted.input_shapes == ((6,), (3,))
    for inputs in ((X, Z), {"wide": X, "narrow": Z}, {"narrow": Z, "wide": X}):
        assert_same(dataset_of((inputs, Y), two_inputs(), "test"), wanted)
    stream = tf.data.Dataset.from_tensor_slices(({"wide": X, "narrow": Z}, Y)).batch(5)
    assert_same(dataset_of(stream, two_inputs(), "test"), wanted)


@pytest.mark.parametrize(
    "form",
    [
        lambda: X,
        lambda: [X],
        lambda: {"x": X},
        lambda: tf.data.Dataset.from_tensor_slices(X),
        lambda: tf.data.Dataset.from_tensor_slices(X).batch(8),
    ],
)
def test_inputs_alone_serve_to_calibrate(form) -> None:
    assert not are_split(form())
    (found,) = inputs_of(form(), network(), "test", 100, 0)
    np.testing.assert_array_equal(found, X)
    assert len(inputs_of(form(), network(), "test", 10, 0)[0]) == 10
    wanted = dataset_of((X, Y), network(), "test")
    dataset = dataset_of(form(), network(), "test")
    assert not dataset.is_labelled
    assert dataset.test.size == wanted.test.size


def test_splits_of_ones_own_are_kept_apart() -> None:
    own = Splits((X[:30], Y[:30]), validation=(X[30:40], Y[30:40]), test=(X[40:], Y[40:]))
    dataset = dataset_of(own, network(), "test")
    np.testing.assert_array_equal(dataset.train.arrays[0][0], X[:30])
    np.testing.assert_array_equal(dataset.validation.arrays[0][0], X[30:40])
    np.testing.assert_array_equal(dataset.test.arrays[0][0], X[40:])


def test_pixels_reach_the_model_as_they_are() -> None:
    pixels = (255 * RNG.random((20, 4, 4, 1))).astype("uint8")
    given = keras.Input((4, 4, 1))
    model = keras.Model(given, keras.layers.Dense(3)(keras.layers.Flatten()(given)))
    (found,) = inputs_of(pixels, model, "test", 100, 0)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, pixels)


def test_images_in_a_range_that_the_model_does_not_know_are_refused(tmp_path) -> None:
    """Arrays are taken as they are: only their range can be wrong."""
    labels = np.arange(120) % 3
    pixels = RNG.integers(0, 100, (120, 4, 4, 1)).astype("uint8")
    pixels[np.arange(120), labels, 0, 0] = 255
    given = keras.Input((4, 4, 1))
    hidden = keras.layers.Conv2D(8, 1, kernel_initializer="ones", name="hidden")(given)
    model = keras.Model(given, keras.layers.Dense(3)(keras.layers.Flatten()(hidden)))
    weights = np.zeros((4, 4, 8, 3))
    weights[np.arange(3), 0, :, np.arange(3)] = 1 / 8
    # On values of 0 to 1 the last class always wins.
    model.layers[-1].set_weights([weights.reshape(-1, 3), np.array([0.0, 0.0, 2.0])])
    right, wrong = (pixels, labels), (pixels / 255, labels)
    refused = r"^{}: data: .*in \[0, 255\] it has accuracy 100.00 %: pass 255 \* x, for arrays are"
    for name, call in {
        "prune": lambda data: pk.prune(model, speedup=1.5, data=data, round_to=1),
        "fine_tune": lambda data: pk.fine_tune(model, data, epochs=1),
        "quantize": lambda data: pk.quantize(model, data, epochs=0),
        "export": lambda data: pk.export(model, tmp_path / "net.tflite", data),
        "compare": lambda data: pk.compare(model, model, data),
    }.items():
        with pytest.raises(UserError, match=refused.format(name)):
            call(wrong)
        if name in ("export", "compare"):
            assert not any("chance" in sentence for sentence in call(right).remarks)
    np.savez(tmp_path / "data.npz", x=pixels, y=labels)
    data = {"npz": str(tmp_path / "data.npz")}
    with pytest.raises(UserError, match=r"^compare: .*: give data with value_range, as .*\[0, 255\]"):
        pk.compare(model, model, data)
    assert pk.compare(model, model, data | {"value_range": [0, 255]}).before.score == 1.0
    guessed = RNG.integers(0, 3, 120)
    assert "chance for 3 classes" in pk.compare(model, model, (pixels, guessed)).remarks[0]


def test_what_another_tool_has_damaged_is_fine_tuned_on_the_data_of_its_teacher() -> None:
    """A network that was cut and not trained since may do better in a range that it was never in."""

    def network_of(weights: list[float], last: float) -> keras.Model:
        given = keras.Input((2, 2, 1))
        model = keras.Model(given, keras.layers.Dense(4)(keras.layers.Flatten()(given)))
        model.layers[-1].set_weights([np.diag(weights), np.array([0.0, 0.0, 0.0, last])])
        return model

    labels = np.arange(1200) % 4
    images = RNG.uniform(0, 0.5, (1200, 4)).astype("float32")
    images[np.arange(1200), labels] = np.linspace(0.5, 1, 1200)
    data = (images.reshape(1200, 2, 2, 1), labels)
    # On values of 0 to 1 the last class always wins; as bytes some of the others are told apart, too.
    more, less = network_of([1, 1, 0, 0], 180.0), network_of([1, 1, 0, 0], 210.0)
    of_bytes, whole = network_of([1, 1, 1, 1], 2.0), network_of([1, 1, 1, 1], 0.0)
    for model, score in ((of_bytes, "100.00"), (more, "53.12")):
        with pytest.raises(UserError, match=rf"\[0, 255\] it has accuracy {score} %: pass 255 \* x"):
            pk.fine_tune(model, data, epochs=1)
    assert pk.fine_tune(less, data, epochs=1).steps
    assert pk.fine_tune(more, data, teacher=whole, epochs=1).steps
    # What is trained knows its range, whatever the teacher's is.
    with pytest.raises(UserError, match=r"accuracy 100.00 %: pass 255 \* x"):
        pk.quantize(of_bytes, data, teacher=whole, epochs=0)
    with pytest.raises(UserError, match=r"where the teacher \w+ has accuracy 25.00 % .*Rescaling"):
        pk.fine_tune(whole, data, teacher=[whole, of_bytes], epochs=1)


def test_data_that_never_end_are_refused() -> None:
    with pytest.raises(UserError, match="never ends; leave out repeat"):
        dataset_of(tf.data.Dataset.from_tensor_slices((X, Y)).repeat(), network(), "test")


def words() -> keras.Model:
    given = keras.Input((None,), dtype="int32", name="words")
    return keras.Model(given, keras.layers.Dense(3)(keras.layers.Embedding(9, 4)(given)[:, 0]))


SENTENCES = [np.arange(1, 3 + number % 4, dtype=np.int32) for number in range(12)]


class Sentences(keras.utils.PyDataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, number: int):
        part = SENTENCES[number : number + 3]
        return keras.utils.pad_sequences(part, padding="post")[:, : 4 + number % 2], np.zeros(3, int)


def each_sentence() -> tf.data.Dataset:
    signature = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
    told = ((words, np.int32(number % 3)) for number, words in enumerate(SENTENCES))
    return tf.data.Dataset.from_generator(lambda: iter(list(told)), output_signature=signature)


RAGGED = tf.ragged.constant([each.tolist() for each in SENTENCES], dtype=tf.int32)
SPARSE = tf.sparse.from_dense(np.eye(12, dtype=np.int32))


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (
            lambda: each_sentence().padded_batch(2),
            r"shape \(3,\) .* and \(5,\) .*: pad all to one length",
        ),
        (each_sentence, r"shape \(2,\) .* and \(3,\) in another: pad all to one length"),
        (lambda: Sentences(), r"shape \(4,\) .* and \(5,\) in another: pad all to one length"),
        (
            lambda: tf.data.Dataset.from_tensor_slices((RAGGED, Y[:12])).batch(4),
            "dense tensors, and these are of a RaggedTensorSpec: pad all to one length",
        ),
        (lambda: (RAGGED, Y[:12]), "x: takes dense tensors, and these are of a RaggedTensor: pad all"),
        (
            lambda: tf.data.Dataset.from_tensor_slices((SPARSE, Y[:12])).batch(4),
            "dense tensors, and these are of a SparseTensorSpec: make them dense",
        ),
        (
            lambda: (SPARSE, Y[:12]),
            "x: takes dense tensors, and these are of a SparseTensor: make them",
        ),
    ],
)
def test_examples_of_several_lengths_are_to_be_padded(stream, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        dataset_of(stream(), words(), "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 5, 12])
def test_examples_that_are_padded_to_one_length_are_read(size: int) -> None:
    padded = keras.utils.pad_sequences(SENTENCES, maxlen=6, padding="post")
    wanted = dataset_of((padded, np.arange(12) % 3), words(), "test")
    found = dataset_of(each_sentence().padded_batch(size, ((6,), ())), words(), "test")
    assert_same(found, wanted)


def test_arrays_of_other_lengths_are_told_in_a_line() -> None:
    with pytest.raises(UserError, match=r"as many examples each.*in 50 arrays") as caught:
        dataset_of(([*X[:49]], Y), two_inputs(), "test")
    assert len(str(caught.value)) < 200


def test_keys_that_are_none_of_the_models_are_named() -> None:
    with pytest.raises(UserError, match="the model's, wide, narrow; received wide, slim"):
        dataset_of(({"wide": X, "slim": Z}, Y), two_inputs(), "test")


@pytest.mark.parametrize("batched", [False, True])
def test_a_pipeline_that_shuffles_holds_out_the_same_examples_in_every_call(batched: bool) -> None:
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50)
    stream = stream.batch(8) if batched else stream
    first, again = (dataset_of(stream, network(), "test") for _ in range(2))
    assert_same(again, first)
    held = {row.tobytes() for row in first.test.arrays[0][0]}
    assert not held & {row.tobytes() for row in again.train.arrays[0][0]}


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_example_that_a_pipeline_repeats_stands_on_one_side_only(shuffled: bool) -> None:
    once = tf.data.Dataset.from_tensor_slices((X, Y))
    once = once.shuffle(50) if shuffled else once
    alone, found = (dataset_of(each.batch(8), network(), "test") for each in (once, once.repeat(3)))
    for split in ("train", "validation", "test"):
        rows = [row.tobytes() for row in getattr(found, split).arrays[0][0]]
        wanted = [row.tobytes() for row in getattr(alone, split).arrays[0][0]]
        assert sorted(rows) == sorted(3 * wanted)


def test_examples_that_merely_are_alike_are_held_out_as_those_of_arrays_are() -> None:
    # Most are blank, and all of one class.
    x, y = X.copy(), np.arange(len(X)) % 3
    x[: len(X) // 2], y[: len(X) // 2] = 0, 3
    for given in ((x, y), (np.zeros_like(x), y)):
        whole = dataset_of(given, network(), "test")
        found = dataset_of(tf.data.Dataset.from_tensor_slices(given).batch(8), network(), "test")
        assert_same(found, whole)


def test_padding_that_counts_in_a_score_is_told_of() -> None:
    words = RNG.integers(1, 9, (40, 6)) * (np.arange(6) < 4)
    tags = words % 3
    given = keras.Input((6,))
    x = keras.layers.Embedding(9, 8, mask_zero=True)(given)
    model = keras.Model(
        given, keras.layers.Dense(4, name="tags")(keras.layers.LSTM(8, return_sequences=True)(x))
    )
    (note,) = (n for n in pk.fine_tune(model, (words, tags), epochs=1).remarks if "padding" in n)
    assert "ignore_class" in note
    told = {"task": {"classification": {"ignore_class": 3}}}
    apart = np.where(words > 0, tags, 3)
    found = pk.fine_tune(model, (words, apart), epochs=1, **told)
    assert not any("padding" in each for each in found.remarks)


class Shuffled(Batches):
    """Batches of examples in another order after each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.order, self.rng = np.arange(50), np.random.default_rng(0)

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(50)

    def __getitem__(self, number: int):
        part = self.order[number * 8 : (number + 1) * 8]
        return X[part], Y[part]


@pytest.mark.parametrize(
    "stream",
    [
        lambda: tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50).batch(8, drop_remainder=True),
        lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(25).shuffle(2),
        lambda: Shuffled(),
    ],
    ids=["whole batches", "two batches", "PyDataset"],
)
def test_what_one_call_trains_on_no_other_holds_out(stream) -> None:
    data, trained_on, held = stream(), set(), set()
    for _ in range(4):
        found = dataset_of(data, network(), "test")
        if isinstance(data, Shuffled):
            data.on_epoch_end()
        trained_on |= {row.tobytes() for row in found.train.arrays[0][0]}
        held |= {row.tobytes() for part in (found.validation, found.test) for row in part.arrays[0][0]}
    assert held
    assert not held & trained_on


def test_a_pipeline_that_changes_its_examples_is_told_of() -> None:
    rng = np.random.default_rng(0)

    def changed():
        for x, y in zip(X, Y, strict=True):
            yield x + rng.normal(size=6), y

    like = (tf.TensorSpec((6,)), tf.TensorSpec((), Y.dtype))
    noisy = tf.data.Dataset.from_generator(changed, output_signature=like)
    said = r"100% of the examples are others whenever .*Splits\(train"
    with pytest.warns(UserWarning, match=said) as told:
        dataset_of(noisy, network(), "test")
    assert len(told) == 1
    with warnings.catch_warnings(record=True) as of_a_stable_one:
        dataset_of(tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(50), network(), "test")
    assert not of_a_stable_one


def test_what_a_later_call_says_of_the_task_counts() -> None:
    data = (X, np.arange(50) % 3)
    model = network()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    tuned = pk.fine_tune(model, data, epochs=1)
    assert tuned.task is not None
    assert tuned.task.config["heads"][0]["ignore"] is None
    again = pk.fine_tune(tuned, data, epochs=1, task={"classification": {"ignore_class": 2}})
    assert again.task is not None
    assert again.task.config["heads"][0]["ignore"] == 2


def test_mixup_of_class_numbers_that_are_floats_is_refused_in_a_later_call_too() -> None:
    model = network()
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = (X, (np.arange(50) % 3).astype("float32"))
    mixed = {"epochs": 1, "augmentation": {"mixup": 1.0}}
    for given in (model, pk.fine_tune(model, data, epochs=1)):
        with pytest.raises(UserError, match="mixup"):
            pk.fine_tune(given, data, training=mixed)


@pytest.mark.parametrize("moved", [{"flip": True}, {"shift": 2}, {"mixup": 0.5}])
def test_what_moves_an_image_without_its_landmarks_is_refused(moved: dict[str, object]) -> None:
    with pytest.raises(
        UserError, match="crop, shift, flip and mixup move what is in an image, but not"
    ):
        pk.fine_tune(
            network(), (X, Y), task={"landmarks": {}}, training={"augmentation": moved, "epochs": 1}
        )
