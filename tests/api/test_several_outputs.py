"""Models of several outputs: each is labelled by its name, compared by itself, and stays compiled."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import pocketkube as pk
from pocketkube.api.data import dataset_of
from pocketkube.packing import load_packed

RNG = np.random.default_rng(0)
X = RNG.random((40, 8, 8, 1), dtype=np.float32)
DIGIT, BRIGHT = np.arange(40) % 3, X.mean((1, 2, 3))[:, None]
LOSSES = {"digit": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "bright": "mse"}


def network(structure: str) -> keras.Model:
    """The digit comes first where it is defined, and last by its name."""
    keras.utils.set_random_seed(0)
    given = keras.Input((8, 8, 1))
    x = layers.Flatten()(layers.Conv2D(8, 3, activation="relu")(given))
    outputs: Any = {
        "digit": layers.Dense(3, name="digit")(x),
        "bright": layers.Dense(1, name="bright")(x),
    }
    model = keras.Model(given, outputs if structure == "dict" else list(outputs.values()), name="two")
    model.compile("adam", LOSSES)
    return model


@pytest.mark.parametrize(
    ("structure", "ordered"), [("dict", (BRIGHT, DIGIT)), ("list", (DIGIT, BRIGHT))]
)
def test_labels_go_to_outputs_by_name_whatever_the_order(structure, ordered) -> None:
    model = network(structure)
    wanted = dataset_of((X, list(ordered)), model, "test")
    for labels in ({"digit": DIGIT, "bright": BRIGHT}, {"bright": BRIGHT, "digit": DIGIT}):
        found = dataset_of((X, labels), model, "test")
        for ours, theirs in zip(found.test.arrays[1], wanted.test.arrays[1], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_each_output_is_compared_by_what_it_is() -> None:
    model, other = network("dict"), network("dict")
    kernel = other.get_layer("bright").kernel
    kernel.assign(kernel * 1.5)
    found = pk.compare(model, other, (X, {"digit": DIGIT, "bright": BRIGHT}))
    assert [(each.name, each.same_class) for each in found.outputs] == [
        ("bright", None),
        ("digit", 1.0),
    ]
    assert found.outputs[0].relative_error == pytest.approx(0.5, rel=1e-3)
    assert found.agreement == 1.0
    before, after = found.before.outputs, found.after.outputs
    assert [each.name for each in before] == ["bright", "digit"]
    assert before[1] == after[1]
    test = dataset_of((X, {"digit": DIGIT, "bright": BRIGHT}), model, "test").test.arrays
    said = model.predict(test[0][0], verbose=0)["bright"]
    assert before[0].score == pytest.approx(-np.abs(said - test[1][0]).mean(), rel=1e-4)
    for text in (str(found), found._repr_html_()):
        for name in ("Mean absolute error, bright", "Accuracy, digit", "Same class, digit"):
            assert name in text
        assert "Relative error (RMS), bright" in text
        assert "Loss" not in text


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_a_quantized_model_is_compiled_for_the_same_outputs(structure: str, tmp_path: Path) -> None:
    few = pk.quantize(network(structure), X)
    again = keras.saving.load_model(few.save(tmp_path / "few.keras"))
    labels = [DIGIT, BRIGHT] if structure == "list" else {"digit": DIGIT, "bright": BRIGHT}
    outputs = again.predict(X, verbose=0)
    digit, bright = outputs if structure == "list" else (outputs["digit"], outputs["bright"])
    shifted = np.exp(digit - digit.max(1, keepdims=True))
    crossed = -np.log((shifted / shifted.sum(1, keepdims=True))[np.arange(40), DIGIT]).mean()
    wanted = crossed + np.square(bright - BRIGHT).mean()
    assert again.evaluate(X, labels, verbose=0)[0] == pytest.approx(wanted, rel=1e-3)


def test_a_sequential_model_stays_compiled(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(3, name="digit")])
    model.compile("adam", LOSSES["digit"])
    few = pk.quantize(model, X)
    again = keras.saving.load_model(few.save(tmp_path / "few.keras"))
    near = model.evaluate(X, DIGIT, verbose=0)
    assert again.evaluate(X, DIGIT, verbose=0) == pytest.approx(near, rel=0.05)


@pytest.mark.parametrize("activation_bits", [8, "float"])
def test_outputs_of_a_quantized_model_keep_their_names(activation_bits, tmp_path: Path) -> None:
    given = keras.Input((4,), name="given")
    x = layers.Dense(4, activation="relu", name="hidden")(given)
    kind, size = layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(1, name="size")(x)
    norm = layers.BatchNormalization(name="norm")(layers.Dense(2, name="before")(x))
    model = keras.Model(given, [kind, size, size, norm, x, given])
    names = ["kind", "size", "size", "norm", "hidden", "given"]
    rows = RNG.random((16, 4), dtype=np.float32)
    few = pk.quantize(model, rows, epochs=0, activation_bits=activation_bits)
    again = keras.saving.load_model(few.save(tmp_path / "few.keras"))
    packed = load_packed(few.save(tmp_path / "few.packed"))
    assert [each.output_names for each in (model, few.model, again, packed)] == [names] * 4
    pk.export(few, tmp_path / "few.tflite", rows)
    signature = Interpreter(str(tmp_path / "few.tflite")).get_signature_list()["serving_default"]
    assert signature["outputs"] == ["given", "hidden", "kind", "norm", "size", "size_1"]


def test_labels_of_a_quantized_model_go_by_the_names_of_its_outputs() -> None:
    labels = {"digit": DIGIT, "bright": BRIGHT}
    few = pk.quantize(network("list"), (X, labels), epochs=0)
    assert [each.name for each in pk.compare(network("list"), few, (X, labels)).outputs] == list(labels)


@pytest.mark.filterwarnings("error")
def test_an_output_of_masked_steps_is_quantized_without_a_warning() -> None:
    words, asked = keras.Input((5,), dtype="int32"), keras.Input((5, 4))
    read = layers.Embedding(9, 4, mask_zero=True)(words)
    model = keras.Model(
        [words, asked],
        [layers.Attention(name="found")([asked, read]), layers.Dense(2, name="size")(asked)],
    )
    rows = [RNG.integers(0, 9, (16, 5)), RNG.random((16, 5, 4), dtype=np.float32)]
    few = pk.quantize(model, rows, epochs=0)
    for ours, theirs in zip(
        few.model.predict(rows, verbose=0), model.predict(rows, verbose=0), strict=True
    ):
        assert np.abs(ours - theirs).max() < 0.1 * np.abs(theirs).max()
