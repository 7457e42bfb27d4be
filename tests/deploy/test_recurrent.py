"""Recurrent layers in LiteRT files, on rows of digits."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.deploy import check_agreement, convert_litert, notes_on_steps
from pocketkube.errors import UserError
from pocketkube.litert.operations import LiteRtGraph, Operator
from pocketkube.measures import Values
from pocketkube.native.litert_in_child import outputs_of

IMAGES, LABELS = load_digits(return_X_y=True)
ROWS = (IMAGES / 16).reshape(-1, 8, 8).astype("float32")


def network(*recurrent):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8)), *recurrent, layers.Dense(10)], name="rows")
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(ROWS[:1200], LABELS[:1200], epochs=6, batch_size=32, verbose=0)
    return model


@pytest.fixture(scope="module")
def lstm():
    return network(layers.LSTM(12))


@pytest.mark.parametrize("number_format", ["float32", "float16", "dynamic", "int8"])
def test_an_lstm_agrees_with_its_model_in_every_format(lstm, number_format) -> None:
    config, test = lstm.get_config(), (ROWS[1200:],)
    content = convert_litert(lstm, number_format, calibration=(ROWS[:200],))
    agreement = check_agreement(content, lstm, test, 0.97)
    assert agreement.share >= (0.97 if number_format == "int8" else 0.99)
    assert lstm.get_config() == config


def test_the_user_is_told_of_its_steps(lstm) -> None:
    (told,) = notes_on_steps(lstm)
    assert f"({lstm.layers[0].name} of 8 steps)" in told
    assert notes_on_steps(keras.Sequential([keras.Input((2,)), layers.Dense(1)])) == []


def test_an_example_leaves_no_trace_in_the_next(lstm) -> None:
    # LiteRT's own LSTM kernel would keep its state.
    content = convert_litert(lstm, "int8", calibration=(ROWS[:50],))
    (twice,) = outputs_of(content, (np.stack([ROWS[0], ROWS[1], ROWS[0]]),), "rows")
    np.testing.assert_array_equal(twice[0], twice[2])


@pytest.mark.parametrize(
    "recurrent",
    [
        [layers.GRU(12)],
        [layers.SimpleRNN(12)],
        [layers.Bidirectional(layers.LSTM(8))],
        [layers.LSTM(8, return_sequences=True), layers.GRU(12, go_backwards=True)],
        [layers.GRU(8, return_sequences=True), layers.Flatten()],
    ],
    ids=["gru", "rnn", "bidirectional", "stacked", "sequences"],
)
def test_recurrent_layers_of_all_kinds_are_there_in_int8(recurrent) -> None:
    model = network(*recurrent)
    content = convert_litert(model, "int8", calibration=(ROWS[:200],))
    # Which class is the likeliest turns with each training for one in forty; the outputs hardly do.
    check_agreement(content, model, (ROWS[1200:],), 0.99, Values())


@pytest.mark.parametrize(
    "recurrent",
    [
        layers.Bidirectional(layers.LSTM(4, dropout=0.1, recurrent_dropout=0.2)),
        layers.RNN([layers.GRUCell(4, dropout=0.1), layers.SimpleRNNCell(4, recurrent_dropout=0.2)]),
    ],
    ids=["both_ways", "stacked_cells"],
)
def test_dropout_leaves_no_trace_in_a_file(recurrent) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3, 8)), recurrent, layers.Dense(3)], name="rows")
    rows, config = ROWS[:, :3], model.get_config()
    (ours,) = outputs_of(convert_litert(model, "int8", calibration=(rows,)), (rows[:100],), "rows")
    theirs = model.predict(rows[:100], verbose=0)
    assert np.square(ours - theirs).mean() < 0.03 * theirs.var()
    codes = {one.code for one in LiteRtGraph(convert_litert(model, "float32")).operations}
    assert Operator.READ_VARIABLE not in codes
    assert model.get_config() == config


@pytest.mark.parametrize(
    "recurrent",
    [
        layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
        layers.Bidirectional(layers.GRU(4, return_sequences=True)),
        layers.Bidirectional(layers.SimpleRNN(4, return_sequences=True)),
        layers.LSTM(4, return_sequences=True, go_backwards=True, zero_output_for_mask=True),
    ],
    ids=["both_ways_lstm", "both_ways_gru", "both_ways_rnn", "backwards"],
)
def test_masked_texts_that_are_read_backwards_are_in_int8_what_keras_makes_of_them(recurrent) -> None:
    keras.utils.set_random_seed(0)
    words = keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(20, 5, keras.initializers.RandomNormal(stddev=1), mask_zero=True)(words)
    model = keras.Model(words, recurrent(embedded), name="texts")
    texts = np.random.default_rng(0).integers(1, 20, (60, 6))
    # Of two, four and six words.
    texts[::3, 2:] = texts[1::3, 4:] = 0
    config = model.get_config()
    content = convert_litert(model, "int8", calibration=(texts,))
    (ours,), theirs = outputs_of(content, (texts,), "texts"), model.predict(texts, verbose=0)
    # As much as quantize_int8 asks for: Keras unrolled loses a fifth.
    assert np.square(ours - theirs).mean() < 0.03 * theirs.var()
    assert model.get_config() == config


@pytest.mark.parametrize(
    ("recurrent", "states"),
    [
        (layers.GRU(6, return_sequences=True), 1),
        (layers.LSTM(6, return_sequences=True), 2),
        (layers.Bidirectional(layers.GRU(6, return_sequences=True)), 2),
    ],
    ids=["gru", "lstm", "both_ways"],
)
def test_states_that_a_layer_begins_with_are_read_in_int8(recurrent, states: int) -> None:
    keras.utils.set_random_seed(0)
    steps, begun = keras.Input((4, 5)), [keras.Input((6,)) for _ in range(states)]
    read = recurrent(steps, initial_state=begun if states > 1 else begun[0])
    model = keras.Model([steps, *begun], layers.Dense(3)(read), name="begun")
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(100, *x.shape[1:])).astype("float32") for x in model.inputs]
    content = convert_litert(model, "int8", calibration=tuple(inputs))
    (ours,), theirs = outputs_of(content, tuple(inputs), "begun"), model.predict(inputs, verbose=0)
    assert np.square(ours - theirs).mean() < 0.03 * theirs.var()
    inputs[1:] = [np.zeros_like(x) for x in inputs[1:]]
    without = model.predict(inputs, verbose=0)
    assert np.square(ours - without).mean() > 0.03 * theirs.var(), "the states matter"


def test_long_sequences_are_told_before_anything_is_converted() -> None:
    given = keras.Input((1000, 2))
    h = layers.LSTM(4, name="listens")(given)
    model = keras.Model(given, layers.Dense(2)(h), name="sound")
    with pytest.raises(
        UserError, match=r"at most 256 .* 1000 \(listens of 1000 steps\); use quantize_dy"
    ):
        convert_litert(model, "int8", calibration=(np.zeros((1, 1000, 2), "float32"),))
    # Loops are kept there.
    assert convert_litert(model, "float16")


def test_states_that_are_kept_from_call_to_call_are_told_before_anything_is_calibrated() -> None:
    remembers = layers.GRU(4, stateful=True, name="remembers")
    model = keras.Sequential([keras.Input(batch_shape=(1, 4, 2)), remembers], name="talk")
    with pytest.raises(
        UserError, match=r"^talk: int8 needs .* every call: .*remembers.* stateful=True, or "
    ):
        convert_litert(model, "int8", calibration=(np.zeros((2, 4, 2), "float32"),))


@keras.saving.register_keras_serializable("tests")
class Loop(layers.Layer):
    def call(self, x):
        return keras.ops.fori_loop(0, 4, lambda _, h: keras.ops.tanh(h) * 0.5 + x, x)


def test_a_layer_that_the_converter_dies_of_is_named(capfd) -> None:
    given = keras.Input((8, 8))
    inner = keras.Sequential([keras.Input((64,)), layers.Dense(4), Loop(name="round_and_round")])
    h = inner(layers.Flatten()(given))
    model = keras.Model(given, layers.Dense(3)(h), name="odd")
    with pytest.raises(
        UserError,
        match=r"^odd: .* int8 LiteRT dies of the layer round_and_round \(Loop\), by a segm"
        r"entation fault; replace it, or convert to float16 or dynamic",
    ):
        convert_litert(model, "int8", calibration=(ROWS[:10],))
    assert convert_litert(model, "float16")
    assert capfd.readouterr().err == ""
