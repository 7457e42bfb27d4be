"""A model that tells nothing of its labels is named, and no other."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import binom
from sklearn.datasets import load_digits

from pocketkube.facts import load_facts, load_warnings
from pocketkube.spec import parse_spec
from pocketkube.stages.chance import classes_at_chance, values_at_chance
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


def test_images_of_another_range_are_asked_for(net: Path, tmp_path: Path, capfd) -> None:
    digits = {"builtin": "digits", "image_size": [8, 8]}
    assert first_stage(tmp_path / "right", net, digits) == []
    (warning,) = first_stage(tmp_path / "wrong", net, digits | {"value_range": [250, 255]})
    assert "validation examples is chance for 10 classes (" in warning
    assert "is dataset.value_range, now [250, 255], what the model was trained with" in warning
    assert f"warning: {warning}" in capfd.readouterr().err


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
    assert "is no better than that of the labels' mean for all of them" in warning
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
    assert "is chance for 3 classes" in warning
