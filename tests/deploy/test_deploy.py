"""Conversion to LiteRT, and the check of the file against its model."""

from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

import pocketkube as pk
from pocketkube.deploy import check_agreement, convert_litert, notes_on, sparse_kernels
from pocketkube.errors import RejectedFile, UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.measures import Values


@pytest.fixture(scope="module")
def digits():
    """A small network trained on the first 1,500 digits, and the images of the others."""
    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    images = (images / 16.0).reshape(-1, 8, 8, 1).astype("float32")
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(128, activation="relu")(x)
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="small")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[:1500], labels[:1500], epochs=4, batch_size=64, verbose=0)
    return model, images[:1500], images[1500:]


def outputs_of(content, *inputs):
    return np.concatenate([outputs[0] for outputs in LiteRTModel(content).predict(inputs)])


def test_float32_gives_what_keras_gives(digits):
    model, _, test = digits
    given = outputs_of(convert_litert(model, "float32"), test[:50])
    np.testing.assert_allclose(given, model(test[:50]).numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("number_format", "size_share", "least_agreement"),
    [("float16", 0.6, 0.99), ("dynamic", 0.4, 0.99), ("int8", 0.35, 0.98)],
)
def test_smaller_formats_shrink_the_file_and_agree(digits, number_format, size_share, least_agreement):
    model, train, test = digits
    calibration = (train[:100],) if number_format == "int8" else None
    content = convert_litert(model, number_format, calibration=calibration)
    assert len(content) < size_share * len(convert_litert(model, "float32"))
    agreement = check_agreement(content, model, (test,), 0.9)
    assert agreement.share >= least_agreement
    assert agreement.examples == len(test)


@pytest.mark.parametrize("number_format", ["float32", "float16", "dynamic", "int8"])
def test_zeros_are_left_out_where_the_runtime_can_fill_them_in(digits, number_format):
    model, train, test = digits
    sparse = keras.models.clone_model(model)
    sparse.set_weights(model.get_weights())
    kernel = next(w for w in sparse.weights if w.shape == (256, 128))
    kernel.assign(np.where(np.abs(kernel) < np.quantile(np.abs(kernel), 0.9), 0, kernel))
    options = {"calibration": (train[:50],)} if number_format == "int8" else {}
    plain = convert_litert(sparse, number_format, **options)
    stored = convert_litert(sparse, number_format, **options, store_sparse=True)
    np.testing.assert_array_equal(outputs_of(stored, test[:50]), outputs_of(plain, test[:50]))
    if number_format in ("float32", "float16"):
        assert len(stored) < 0.4 * len(plain)


@pytest.mark.parametrize(("given", "taken"), [("int8", "uint8"), ("uint8", "float32")])
def test_int8_files_speak_the_types_asked_for(digits, given, taken):
    model, train, test = digits
    content = convert_litert(
        model, "int8", calibration=(train[:50],), input_type=given, output_type=taken
    )
    file = LiteRTModel(content)
    assert file.input_types == (np.dtype(given),)
    file.invoke(file.prepare((test[0],)))
    assert file._outputs[0]["dtype"] == np.dtype(taken)
    assert check_agreement(content, model, (test,), 0.9).share > 0.97


def several_inputs():
    """Names and shapes such that neither sorting nor the shapes tell the right order."""
    keras.utils.set_random_seed(1)
    ends = [keras.Input((5,), name=name) for name in ("m", "z", "a", "k")]
    parts = [
        keras.layers.Dense(3, bias_initializer="normal", name=f"d{i}")(end)
        for i, end in enumerate(ends)
    ]
    joined = keras.layers.Concatenate()(parts)
    outputs = [keras.layers.Dense(4, name=name)(joined) for name in ("y_last", "b_first", "q")]
    return keras.Model(ends, outputs, name="several")


@pytest.mark.parametrize("number_format", ["float32", "int8"])
def test_inputs_and_outputs_keep_the_models_order_and_names(number_format):
    model = several_inputs()
    rng = np.random.default_rng(0)
    # Ranges far apart: an input calibrated on another's range would be cut off.
    arrays = tuple(
        (rng.normal(size=(64, 5)) * scale).astype("float32") for scale in (0.1, 1.0, 10.0, 100.0)
    )
    content = convert_litert(model, number_format, calibration=arrays)
    names = [end["name"] for end in LiteRTModel(content)._inputs]
    assert [name.split("_")[-1].split(":")[0] for name in names] == ["m", "z", "a", "k"]
    given = [np.concatenate(one) for one in zip(*LiteRTModel(content).predict(arrays), strict=True)]
    for ours, keras_output in zip(given, model(list(arrays)), strict=True):
        wanted = keras_output.numpy()
        bound = 1e-4 if number_format == "float32" else 0.05 * np.abs(wanted).max()
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=bound)
    signature = LiteRTModel(content)._interpreter.get_signature_list()["serving_default"]
    assert sorted(signature["outputs"]) == ["b_first", "q", "y_last"]


def test_odd_names_become_words_of_their_own_in_the_signature():
    names = ("in", "from", "None", "self", "in_", "In", "a b", "A-B", "2nd")
    ends = [keras.Input((1,), name=name) for name in names]
    kernels = [keras.layers.Rescaling(10.0**place)(end) for place, end in enumerate(ends)]
    model = keras.Model(ends, {"class": keras.layers.Add()(kernels), "Class": kernels[-1]})
    file = LiteRTModel(convert_litert(model, "float32"))
    signature = file._interpreter.get_signature_list()["serving_default"]
    words = ["in_", "from_", "None_", "self_", "in__1", "In", "a_b", "A_B_1", "x2nd"]
    assert sorted(signature["inputs"]) == sorted(words)
    assert sorted(signature["outputs"]) == ["Class", "class"]
    digits = [np.full((1, 1), place + 1.0, "float32") for place in range(len(names))]
    ((last, added),) = file.predict(digits)
    assert (last, added) == (9e8, 987654321)


def test_inputs_in_a_dict_follow_model_inputs():
    ends = {name: keras.Input((2,), name=name) for name in ("right", "left")}
    model = keras.Model(ends, keras.layers.Subtract()([ends["right"], ends["left"]]))
    one, two = np.full((1, 2), 5.0, "float32"), np.full((1, 2), 3.0, "float32")
    arrays = {"right": one, "left": two}
    in_order = [arrays[tensor.name] for tensor in model.inputs]
    np.testing.assert_allclose(outputs_of(convert_litert(model, "float32"), *in_order), [[2.0, 2.0]])


def test_integer_inputs_stay_integers_in_int8():
    words = keras.Input((6,), dtype="int32", name="words")
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(20, 8)(words))
    model = keras.Model(words, keras.layers.Dense(3)(x), name="text")
    texts = np.random.default_rng(0).integers(0, 20, (64, 6)).astype("int32")
    content = convert_litert(model, "int8", calibration=(texts,))
    assert LiteRTModel(content).input_types == (np.dtype("int32"),)
    assert check_agreement(content, model, (texts,), 0.9).share >= 0.9
    with pytest.raises(UserError, match=r"text: input words takes int32.*leave input_type"):
        convert_litert(model, "int8", calibration=(texts,), input_type="int8")


def test_a_regression_counts_the_variance_kept():
    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(1)])
    inputs = np.random.default_rng(0).normal(size=(80, 4)).astype("float32")
    content = convert_litert(model, "int8", calibration=(inputs,))
    share = check_agreement(content, model, (inputs,), 0.97, Values()).share
    assert 0.99 < share < 1.0
    other = keras.models.clone_model(model)
    with pytest.raises(UserError, match=r"strays.*share of variance kept 0\.\d{4} \(error .* on 80"):
        check_agreement(content, other, (inputs,), 0.97, Values())


def test_a_network_gives_the_numbers_of_its_likeliest_classes():
    image = keras.Input((4, 4, 2))
    shares = keras.layers.Conv2D(5, 1, bias_initializer="random_normal")(image)
    ends = [
        keras.ops.argmax(shares, axis=-1),
        keras.ops.argmin(shares, axis=1, keepdims=True),
        keras.ops.argmax(keras.ops.argmax(shares, axis=-1), axis=-1),
    ]
    model = keras.Model(image, ends, name="map")
    images = np.random.default_rng(0).normal(size=(6, 4, 4, 2)).astype("float32")
    rows = LiteRTModel(convert_litert(model, "float32")).predict([images])
    for found, wanted in zip(zip(*rows, strict=True), model.predict(images), strict=True):
        np.testing.assert_array_equal(np.concatenate(found), wanted)
    assert convert_litert(model, "int8", calibration=(images,))


def test_a_spoiled_model_is_refused(digits):
    model, _, test = digits
    spoiled = keras.models.clone_model(model)
    content = convert_litert(spoiled, "float32")
    with pytest.raises(
        UserError, match=r"small: .* top-1 agreement 0\.\d+ \(.* on 297 .*0\.97 is wanted"
    ):
        check_agreement(content, model, (test,), 0.97)


def test_outputs_that_are_no_numbers_never_agree(digits):
    model, _, test = digits
    spoiled = keras.models.clone_model(model)
    spoiled.layers[-1].bias.assign([np.nan] * 10)
    with pytest.raises(UserError, match=r"top-1 agreement 0\.0000"):
        check_agreement(convert_litert(spoiled, "float32"), model, (test[:20],), 0.5)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_whose_own_outputs_are_no_numbers_is_told_from_a_file_that_strays(digits, number):
    model, _, test = digits
    spoiled = keras.models.clone_model(model)
    spoiled.layers[-1].bias.assign([number] * 10)
    with pytest.raises(UserError) as caught:
        check_agreement(
            convert_litert(spoiled, "float16"),
            spoiled,
            (test[:20],),
            0.5,
            remedy="use another format, or lower min_agreement",
        )
    said = str(caught.value)
    assert "the Keras model's own outputs are not finite on 20 of 20 test examples" in said
    assert "lower the learning rate (training.learning_rate, or that of the stage that trains)" in said
    assert "min_agreement" not in said
    assert "\n" not in said


class Inverse(keras.layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(x)


def test_an_operation_that_litert_lacks_is_named(capfd):
    image = keras.Input((3,))
    model = keras.Model(image, Inverse()(image), name="odd")
    with pytest.raises(
        UserError, match="odd: LiteRT has no operation for TensorFlow's Erfinv; replace"
    ):
        convert_litert(model, "float32")
    assert capfd.readouterr().err == ""


class Noisy(keras.layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.seed_generator = keras.random.SeedGenerator(3)

    def call(self, x):
        return x + keras.random.normal((1, 3), seed=self.seed_generator)


def test_of_random_numbers_no_other_format_is_named():
    image = keras.Input((3,))
    model = keras.Model(image, Noisy()(image), name="draws")
    with pytest.raises(
        UserError,
        match=r"^draws: LiteRT has no operation .*StatelessRandomNormalV2; replace the layers",
    ):
        convert_litert(model, "int8", calibration=(np.ones((4, 3), np.float32),))


def test_an_operation_that_has_floats_only_still_runs_in_an_int8_file():
    keras.utils.set_random_seed(3)
    image = keras.Input((3,))
    x = keras.layers.Dense(16, activation="elu")(image)
    model = keras.Model(image, keras.layers.Dense(4)(x), name="elu")
    inputs = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
    content = convert_litert(model, "int8", calibration=(inputs,), input_type="int8")
    assert LiteRTModel(content).input_types == (np.dtype("int8"),)
    assert check_agreement(content, model, (inputs,), 0.9).share >= 0.95
    assert notes_on(content, "int8") == [
        "Kernels in the file: 2 in 8 bits.",
        "Computed in floats, integers converted and back: ELU.",
    ]
    assert notes_on(convert_litert(model, "float32"), "float32") == []


def test_a_dynamic_file_whose_kernels_all_stayed_floats_says_so():
    rows = keras.Input((20,))
    x = keras.layers.Dense(40, activation="relu")(rows)
    model = keras.Model(rows, keras.layers.Dense(3)(x), name="little")
    content, floats = convert_litert(model, "dynamic"), convert_litert(model, "float32")
    assert len(content) >= 0.95 * len(floats)
    held, why = notes_on(content, "dynamic")
    assert held == "Kernels in the file: 2 as floats."
    assert "no smaller than one of float32" in why


@pytest.mark.parametrize("seed", range(2))
def test_what_is_reversed_keeps_its_scale_beside_what_is_not(seed):
    """The converter gives what is reversed the scale of both together, and the kernel copies bytes."""
    keras.utils.set_random_seed(seed)
    rows = keras.Input((8, 6))
    both = keras.layers.Bidirectional(keras.layers.LSTM(12, return_sequences=True))(rows)
    model = keras.Model(rows, keras.layers.Dense(3)(both), name="both_ways")
    for weight in model.weights:
        if "forward" in weight.path and weight.name == "kernel":
            weight.assign(1.1 * weight)
    examples = np.random.default_rng(seed).normal(size=(200, 8, 6)).astype("float32")
    content = convert_litert(model, "int8", calibration=(examples,))
    wanted = model.predict(examples, verbose=0)
    # 8 bits tell steps of 0.03 of the spread here; with bytes copied it was 0.09 and more.
    assert np.std(outputs_of(content, examples) - wanted) < 0.05 * np.std(wanted)


def test_a_flipped_image_joined_to_one_that_is_not_keeps_its_scale():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    flipped = keras.ops.flip(keras.layers.Conv2D(4, 3, activation="relu")(image), axis=2)
    x = keras.layers.Concatenate()([flipped, keras.layers.Conv2D(4, 3)(image)])
    model = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(x)), name="flipped")
    images = np.random.default_rng(0).normal(size=(100, 8, 8, 3)).astype("float32")
    content = convert_litert(model, "int8", calibration=(images,))
    wanted = model.predict(images, verbose=0)
    assert np.std(outputs_of(content, images) - wanted) < 0.05 * np.std(wanted)


def test_one_hot_codes_are_ones_and_zeros_in_int8():
    """The converter gives the zero a scale of its own, and the kernel copies its byte: a half."""
    keras.utils.set_random_seed(0)
    words = keras.Input((4,), dtype="int32")
    coded = keras.layers.Flatten()(keras.ops.one_hot(words, 5))
    model = keras.Model(words, keras.layers.Dense(3)(coded), name="coded")
    texts = np.random.default_rng(0).integers(0, 5, (60, 4)).astype("int32")
    content = convert_litert(model, "int8", calibration=(texts,))
    assert check_agreement(content, model, (texts,), 0.97, Values()).share > 0.97
    # No class at all.
    none = np.full((1, 4), -1, "int32")
    assert not outputs_of(content, none).any()


class Quotient(keras.layers.Layer):
    def call(self, x):
        return keras.ops.floor_divide(x[:, :1], x[:, 1:])


def test_an_operation_that_cannot_be_run_is_one_line():
    numbers = keras.Input((2,), dtype="int32")
    model = keras.Model(numbers, Quotient(dtype="int32")(numbers), name="quotient")
    content = convert_litert(model, "float32")
    examples = np.array([[6, 3], [5, 0]], "int32")
    with pytest.raises(
        UserError,
        match=r"^the converted model: LiteRT cannot run it \(Division by 0\. Node .*FLOOR_DIV.*\); con",
    ):
        check_agreement(content, model, (examples,), 0.9)


def test_each_output_is_judged_by_its_own_range():
    """Three outputs, as MTCNN's O-Net has: one hardly varies on the examples, and does elsewhere."""
    keras.utils.set_random_seed(0)
    given = keras.Input((12,))
    x = keras.layers.Dense(32, activation="relu")(given)
    face = keras.layers.Dense(1, activation="sigmoid", name="face")(x)
    outputs = [face, *(keras.layers.Dense(n, name=name)(x) for n, name in ((4, "box"), (10, "points")))]
    model = keras.Model(given, outputs, name="onet")
    rng = np.random.default_rng(0)
    train = rng.normal(size=(200, 12)).astype("float32")
    # Much like each other: the first output moves by less than a step of 8 bits.
    alike = (train[:1] + 1e-3 * rng.normal(size=(50, 12))).astype("float32")
    content = convert_litert(model, "int8", calibration=(train,))
    found = check_agreement(content, model, (alike,), 0.97, Values())
    assert [one.name for one in found.outputs] == ["face", "box", "points"]
    assert found.outputs[0].spread < 1 / 256
    assert found.outputs[0].range == pytest.approx(1.0, abs=0.01)
    assert found.share == min(one.share for one in found.outputs)
    varied = check_agreement(content, model, (train,), 0.97, Values())
    given_back = [
        np.concatenate(one) for one in zip(*LiteRTModel(content).predict((train,)), strict=True)
    ]
    for one, ours, theirs in zip(varied.outputs, given_back, model(train), strict=True):
        theirs = theirs.numpy()
        kept = 1 - np.square(ours - theirs).mean() / theirs.var(axis=0).mean()
        assert one.share == pytest.approx(kept, abs=1e-3)


@pytest.mark.parametrize("alike", [False, True])
def test_the_output_that_strays_is_named_and_the_file_kept(alike):
    keras.utils.set_random_seed(0)
    given = keras.Input((12,))
    outputs = [keras.layers.Dense(4, name=name)(given) for name in ("box", "points")]
    model = keras.Model(given, outputs, name="onet")
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(60, 12)).astype("float32")
    content = convert_litert(model, "int8", calibration=(inputs,))
    kernel = model.get_layer("points").kernel
    kernel.assign(-kernel)
    if alike:
        inputs = (inputs[:1] + 1e-3 * rng.normal(size=(60, 12))).astype("float32")
    with pytest.raises(
        RejectedFile, match=r"model: of output points share of variance kept 0\.\d{4} \(error \S+, spr"
    ) as caught:
        check_agreement(content, model, (inputs,), 0.97, Values())
    assert "output box" not in str(caught.value)
    assert caught.value.content == content


def of_sizes(*sizes):
    """One output whose numbers differ in size, with weights of one seed."""
    keras.utils.set_random_seed(0)
    given = keras.Input((6,))
    x = keras.layers.Dense(16, activation="relu")(given)
    dense = keras.layers.Dense(len(sizes), name="told")
    model = keras.Model(given, dense(x), name="offer")
    dense.kernel.assign(dense.kernel * np.array(sizes, "float32"))
    return model, np.random.default_rng(0).random((100, 6), dtype=np.float32)


def test_a_number_that_is_gone_beside_larger_ones_is_told_though_the_output_agrees(tmp_path: Path):
    model, x = of_sizes(1e5, 1.0, 2.0, 3e4)
    exported = pk.export(model, tmp_path / "offer.tflite", x, number_format="int8")
    assert exported.agreement.share > 0.97
    assert not outputs_of(exported.path, x)[:, 1:3].any()
    assert exported.agreement.outputs[0].lost == (1, 2)
    assert exported.notes[0] == (
        "The file keeps less than 90% of the variance of numbers 1 and 2 (counted from 0) of output "
        "told: it has one scale for these and far larger ones; give small ones an output of their own, "
        "or use quantize_float16."
    )
    floats = pk.export(model, tmp_path / "offer.tflite", x, number_format="float16")
    assert floats.agreement.outputs[0].lost == ()


@pytest.mark.parametrize(
    "sizes",
    [(1.0, 2.0), (10.0, 1.0), (1.0, 0.0), (1.0, 1e-8), (0.0, 0.0)],
    ids=["alike", "ten_times", "constant", "dust", "all_constant"],
)
def test_numbers_that_an_output_has_room_for_are_not_said_to_be_lost(sizes):
    model, x = of_sizes(*sizes)
    # What is constant need not be zero.
    model.layers[-1].bias.assign([0.5, 0.25])
    content = convert_litert(model, "int8", calibration=(x,))
    assert check_agreement(content, model, (x,), 0.97, Values()).outputs[0].lost == ()


def test_what_a_number_loses_before_the_output_is_not_put_down_to_its_size():
    """The last number is a difference of two that are nearly alike, made as large as the others."""
    given = keras.Input((16,))
    hidden = keras.layers.Dense(17, use_bias=False, name="hidden")
    out = keras.layers.Dense(16, use_bias=False, name="out")
    model = keras.Model(given, out(hidden(given)))
    nearly = np.eye(16, 17, dtype=np.float32)
    nearly[15, 16], nearly[14, 16] = 1.0, 0.02
    hidden.kernel.assign(nearly)
    last = np.zeros((17, 16), np.float32)
    last[:15, :15] = np.eye(15)
    last[16, 15], last[15, 15] = 50.0, -50.0
    out.kernel.assign(last)
    x = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
    found = check_agreement(convert_litert(model, "int8", calibration=(x,)), model, (x,), 0.9, Values())
    assert np.std(model(x), axis=0).min() > 0.9
    assert found.outputs[0].lost == ()


def test_conversion_prints_nothing(digits, capfd):
    model, train, test = digits
    content = convert_litert(model, "int8", calibration=(train[:20],))
    check_agreement(content, model, (test[:20],), 0.5)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"number_format": "int8"}, "small: int8 needs calibration examples"),
        (
            {"number_format": "int8", "calibration": (np.zeros((4, 9, 9, 1), "float32"),)},
            r"small takes inputs of the shapes \[\(8, 8, 1\)\] an example; received \[\(9, 9, 1\)\]",
        ),
        (
            {"number_format": "float16", "input_type": "int8"},
            "int8 input and float32 output need the number format int8, not float16",
        ),
        ({"number_format": "int4"}, "number_format has to be one of .*int8; received 'int4'"),
        (
            {"number_format": "int8", "output_type": "int16"},
            "output_type has to be one of float32, int8, uint8; received 'int16'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(digits, arguments, message):
    with pytest.raises(UserError, match=message):
        convert_litert(digits[0], **arguments)


def test_a_model_of_a_fixed_batch_that_its_layers_need_is_refused():
    rows = keras.Input(batch_shape=(4, 6))
    model = keras.Model(rows, keras.ops.reshape(keras.layers.Dense(6)(rows), (4, 2, 3)), name="fours")
    with pytest.raises(UserError, match=r"fours: it is made for batches of 4, .*batch_shape=\(None"):
        convert_litert(model, "float32")


def test_a_model_without_inputs_is_refused():
    unbuilt = keras.Sequential([keras.layers.Dense(3)], name="unbuilt")
    with pytest.raises(UserError, match=r"unbuilt: .* received a Sequential without any"):
        convert_litert(unbuilt, "float32")


def test_what_is_no_litert_file_is_refused(digits):
    cut = convert_litert(digits[0], "dynamic")[:2000]
    for read in (lambda content: notes_on(content, "dynamic"), sparse_kernels):
        with pytest.raises(UserError, match="is not a LiteRT file"):
            read(b"garbage of some length")
        with pytest.raises(UserError, match="damaged or cut short; received 2000 bytes"):
            read(cut)


@pytest.mark.parametrize("minimum", [-0.1, 1.5, float("nan")])
def test_a_minimum_that_is_no_share_is_refused(digits, minimum):
    with pytest.raises(UserError, match=rf"between 0 and 1; received {minimum}"):
        check_agreement(convert_litert(digits[0], "float32"), digits[0], (digits[2][:5],), minimum)


def test_an_open_shape_is_refused():
    image = keras.Input((None, None, 3), name="image")
    model = keras.Model(image, keras.layers.Conv2D(2, 3)(image), name="open")
    with pytest.raises(UserError, match=r"open: input image has the open shape \(None, None, 3\)"):
        convert_litert(model, "float32")


def test_a_layer_that_died_whole_is_there_in_int8():
    """What it gives is 0 on all examples: the converter makes steps of 8e-9 of that."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    live = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    dying = keras.layers.Conv2D(4, 3, padding="same", activation="relu", bias_initializer="ones")
    dead = dying(live)
    dying.bias.assign([-50.0] * 4)
    x = keras.layers.Conv2D(4, 3, bias_initializer="ones")(keras.layers.MaxPooling2D()(dead))
    x = keras.layers.Concatenate()([keras.layers.Flatten()(x), keras.layers.Flatten()(live)])
    model = keras.Model(image, keras.layers.Dense(3)(x), name="half_dead")
    images = np.random.default_rng(0).random((60, 8, 8, 1), dtype=np.float32)
    content = convert_litert(model, "int8", calibration=(images,))
    check_agreement(content, model, (images,), 0.97, Values())


def test_an_operation_that_the_converter_fails_at_is_named(tmp_path: Path) -> None:
    words = keras.Input((1,), dtype="int32")
    coded = keras.layers.CategoryEncoding(10, output_mode="one_hot")(words)
    model = keras.Model(words, keras.layers.Dense(2)(coded), name="coded")
    x = np.arange(40)[:, None] % 10
    small = pk.quantize(model, x)
    with pytest.raises(
        UserError,
        match=r"to int8 LiteRT fails at its operation OneHot; replace the layer that uses it, "
        r"or quantize it with activation_bits float\.$",
    ):
        pk.export(small, tmp_path / "coded.tflite", x, number_format="int8")
    rounded = pk.quantize(model, x, activation_bits="float")
    assert pk.export(rounded, tmp_path / "coded.tflite", x).agreement.share > 0.97
