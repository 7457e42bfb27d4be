"""A model that tells nothing of its labels is named, and no other."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import binom
from sklearn.datasets import load_digits

from pocketkube.errors import UserError
from pocketkube.facts import load_facts, load_warnings
from pocketkube.measures import Classes, Values
from pocketkube.measures.output_heads import HeadMeasure, TaskMeasure
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Quantize
from pocketkube.stages.chance import classes_at_chance, untold, values_at_chance
from pocketkube.stages.formats import remedy
from tests.steps import run_step


def test_a_guess_is_chance_as_often_as_the_test_says() -> None:
    rng = np.random.default_rng(0)
    guesses = [(rng.integers(0, 10, 200), rng.integers(0, 10, 200)) for _ in range(200)]
    missed = sum(classes_at_chance(y, z, 0) is None for y, z in guesses)
    # One in 44 by design; more than 11 of 200 would come up once in a thousand times.
    assert missed <= binom.ppf(0.999, 200, 0.0228)


def test_labels_that_do_not_count_tell_nothing_of_a_guess() -> None:
    missed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels, guess = rng.integers(0, 3, (60, 20)), rng.integers(0, 3, (60, 20))
        counted = rng.random(labels.shape) < 0.9
        labels = np.where(counted, labels, 255)
        missed += classes_at_chance(labels, guess, 0, counted) is None
        some = np.where(rng.random(labels.shape) < 0.3, labels, guess)
        assert classes_at_chance(labels, some, 0, counted) is None
    assert missed <= binom.ppf(0.999, 60, 0.0228)


@pytest.mark.parametrize("right", [0.2, 0.5, 1.0])
def test_a_weak_model_is_not_chance(right: float) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    known = rng.random(300) < right
    assert classes_at_chance(labels, np.where(known, labels, rng.integers(0, 10, 300)), 0) is None


def test_a_rare_class_counts_and_a_frequent_one_does_not() -> None:
    labels = np.repeat([0, 1], [285, 15])
    always = np.zeros(300, int)
    assert classes_at_chance(labels, always, 0) == pytest.approx(285 / 300)
    some_found = always.copy()
    some_found[285:291] = 1
    some_found[:6] = 1
    # As often right as naming the frequent class alone.
    assert (some_found == labels).mean() == (always == labels).mean()
    assert classes_at_chance(labels, some_found, 0) is None


def test_few_labels_say_nothing() -> None:
    assert classes_at_chance(np.array([0, 1, 2]), np.array([2, 2, 2]), 0) is None
    assert classes_at_chance(np.zeros(99, int), np.zeros(99, int), 0) is None
    assert values_at_chance(np.array([1.0, 2.0]), np.array([9.0, 9.0])) is None
    assert values_at_chance(np.ones(99), np.zeros(99)) is None


def test_values_are_held_against_the_mean_of_the_labels() -> None:
    rng = np.random.default_rng(0)
    labels = rng.normal(5, 2, (200, 3))
    without = np.abs(labels - labels.mean(axis=0)).mean()
    for outputs in (np.tile(labels.mean(axis=0), (200, 1)), labels + 100, labels * np.nan):
        found = values_at_chance(labels, outputs)
        assert found is not None
        assert found[1] == pytest.approx(without)
    for noise in (0.0, 1.0):
        assert values_at_chance(labels, labels + noise * rng.normal(size=labels.shape)) is None


def said_of(measure: Classes | Values, labels: np.ndarray, outputs: np.ndarray) -> str:
    (sentence,) = untold(TaskMeasure((HeadMeasure("y", measure),)), [labels], [outputs], "data")
    return sentence


@pytest.mark.parametrize(
    ("outputs", "wanted"),
    [
        # Of two of six alone anything is known.
        (
            [2.5, 0.5, 2.5, 2.5, 2.5, 4.5],
            "a mean absolute error of 1 on 6 validation examples is better",
        ),
        ([2.5] * 6, "a mean absolute error of 1.5 on 6 validation examples is no better than that"),
        ([9.0] * 6, "a mean absolute error of 6.5 on 6 validation examples is no better than that"),
    ],
)
def test_values_are_called_no_better_only_where_they_are_not(outputs, wanted: str) -> None:
    labels = np.arange(6.0)
    assert wanted in said_of(Values(), labels, np.array(outputs))
    sentence = said_of(Values(), labels, np.array(outputs))
    assert ("by no more than chance explains" in sentence) == ("is better" in sentence)


def test_classes_may_be_chance_where_more_are_right() -> None:
    labels = np.tile([0, 1], 20)
    some = np.eye(2)[np.where(np.arange(40) < 22, labels, 1 - labels)]
    assert "accuracy 55.00 % on 40 validation examples may be chance for 2" in said_of(
        Classes(), labels, some
    )
    always = np.eye(2)[np.zeros(40, int)]
    assert "accuracy 50.00 % on 40 validation examples is chance for 2" in said_of(
        Classes(), labels, always
    )


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that tells digits of 0 … 1 apart."""
    keras.utils.set_random_seed(0)
    images, labels = load_digits(return_X_y=True)
    parts = [layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit((images / 16).reshape(-1, 8, 8, 1), labels, epochs=10, verbose=0)
    file = tmp_path_factory.mktemp("net") / "net.keras"
    model.save(file)
    return file


def first_stage(folder: Path, net: Path, dataset: dict) -> list[str]:
    spec = parse_spec({"model": str(net), "dataset": dataset, "stages": []})
    run_step(spec, "train_model", {}, folder)
    (stage,) = load_facts(folder).stages
    assert stage.name == "load_model"
    return load_warnings(folder)


def test_images_of_another_range_are_refused(net: Path, tmp_path: Path) -> None:
    digits = {"builtin": "digits", "image_size": [8, 8]}
    assert first_stage(tmp_path / "right", net, digits) == []
    with pytest.raises(
        UserError,
        match=r"range \[250, 255\], where .*net.keras has accuracy \d.* %.*; in \[0, 1\] it has "
        r"accuracy 9.* %: say dataset: \{value_range: \[0, 1\]\}.$",
    ):
        first_stage(tmp_path / "wrong", net, digits | {"value_range": [250, 255]})


def saved_digits(file: Path, x: np.ndarray, y: np.ndarray | None = None) -> dict:
    np.savez(file, x=x.reshape(-1, 8, 8, 1), y=load_digits().target if y is None else y)
    return {"npz": str(file)}


def test_8_bit_images_are_refused_in_a_range_that_the_model_does_not_know(tmp_path: Path) -> None:
    """A file's uint8 images reach the model in 0 … 1; a Rescaling in it takes 0 … 255."""
    pixels = (load_digits().data * 255 / 16).astype(np.uint8)
    keras.utils.set_random_seed(0)
    parts = [layers.Rescaling(1 / 127.5, -1), layers.Flatten(), layers.Dense(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *parts])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(pixels.reshape(-1, 8, 8, 1), load_digits().target, epochs=10, verbose=0)
    file = tmp_path / "bytes.keras"
    model.save(file)
    data = saved_digits(tmp_path / "data.npz", pixels)
    with pytest.raises(UserError, match=r"say dataset: \{value_range: \[0, 255\]\}"):
        first_stage(tmp_path / "wrong", file, data)
    assert first_stage(tmp_path / "right", file, data | {"value_range": [0, 255]}) == []
    # No setting changes what floats are.
    floats = saved_digits(tmp_path / "floats.npz", pixels.astype(np.float32) / 255)
    with pytest.raises(UserError, match=r"in \[0, 255\] it has accuracy 9.* save 255 \* x as x"):
        first_stage(tmp_path / "floats", file, floats)


def test_a_model_at_chance_in_every_range_is_asked_for(net: Path, tmp_path: Path, capfd) -> None:
    others = np.random.default_rng(0).permutation(load_digits().target)
    data = saved_digits(tmp_path / "data.npz", (load_digits().data * 255 / 16).astype(np.uint8), others)
    (warning,) = first_stage(tmp_path / "stage", net, data)
    assert "validation examples" in warning
    assert "chance for 10 classes (" in warning
    assert "dataset.value_range, now [0, 1], what the model was trained with" in warning
    assert f"warning: {warning}" in capfd.readouterr().err
    # What comes later can tell what is the matter with the model.
    (sentence,) = load_facts(tmp_path / "stage").at_chance
    told = remedy(Quantize(name="quantize_int8"), on_levels=False, at_chance=[sentence])
    assert told.index("chance for 10 classes") < told.index("only then calibrate on more examples")


def test_without_labels_outputs_that_hardly_vary_are_asked_about(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    flat = layers.Dense(1, bias_initializer=keras.initializers.Constant(5.0))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), flat])
    model.set_weights([np.full((64, 1), 1e-4), np.array([5.0])])
    model.save(tmp_path / "net.keras")
    data = {"npz": str(tmp_path / "x.npz")}
    (warning,) = first_stage(tmp_path / "wrong", tmp_path / "net.keras", data)
    assert "the model answers the same on all" in warning
    assert "dataset.value_range, now [0, 1], what the model was trained with" in warning
    data["value_range"] = [0, 255]
    assert first_stage(tmp_path / "right", tmp_path / "net.keras", data) == []


def test_values_of_another_scale_are_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=1000 * x[:, :1])
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, use_bias=False)])
    files = {}
    for name, slope in (("right", 1000.0), ("wrong", -1.0)):
        model.set_weights([np.array([[slope], [0], [0], [0]])])
        files[name] = tmp_path / f"{name}.keras"
        model.save(files[name])
    data = {"npz": str(tmp_path / "data.npz")}
    assert first_stage(tmp_path / "right", files["right"], data) == []
    (warning,) = first_stage(tmp_path / "wrong", files["wrong"], data)
    assert "is better than that of the labels' mean for all of them, 7" in warning
    assert "by no more than chance explains: are inputs and" in warning
    assert "are inputs and labels those that the model was trained with?" in warning


def test_each_output_is_held_against_its_own_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4)).astype(np.float32)
    rows = np.eye(3, dtype=np.float32)[rng.integers(0, 3, 400)]
    np.savez(tmp_path / "data.npz", x=x, y0=(x[:, 0] > 0).astype(np.int64), y1=rows)
    inputs = keras.Input((4,))
    outputs = [layers.Dense(1, name="sign")(inputs), layers.Dense(3, name="guess")(inputs)]
    model = keras.Model(inputs, outputs)
    model.get_layer("sign").set_weights([np.eye(4, 1), np.zeros(1)])
    losses = [keras.losses.BinaryCrossentropy(from_logits=True)]
    losses.append(keras.losses.CategoricalCrossentropy(from_logits=True))
    model.compile(loss=losses)
    model.save(tmp_path / "net.keras")
    data = {"npz": str(tmp_path / "data.npz")}
    (warning,) = first_stage(tmp_path / "first", tmp_path / "net.keras", data)
    assert warning.startswith("load_model: output guess: accuracy")
    assert "chance for 3 classes" in warning
