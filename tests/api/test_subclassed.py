"""A subclassed model is refused in one line wherever one comes in; as a teacher it is called."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import pocketkube as pk
from pocketkube.cli.main import main
from pocketkube.stages.networks import network_with_notes

X = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
Y = np.arange(40) % 3
DATA = (X, Y)
COURSE: dict[str, Any] = {"epochs": 1, "training": {"batch_size": 16}}
SAID = r"The model own is a subclassed one \(Own\), whose graph cannot be seen: build it with"


@keras.saving.register_keras_serializable("test_subclassed")
class Own(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(4, 3, activation="relu")
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(keras.ops.mean(self.conv(x), axis=(1, 2)))


def loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def own() -> keras.Model:
    model = Own(name="own")
    model(X[:1])
    model.compile("adam", loss())
    return model


def functional(within: keras.layers.Layer | None = None) -> keras.Model:
    given = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3)(given)
    x = layers.Dense(3)(layers.Flatten()(x)) if within is None else within(x)
    model = keras.Model(given, x, name="functional")
    model.compile("adam", loss())
    return model


@pytest.mark.parametrize(
    "call",
    [
        lambda m: pk.profile(m),
        lambda m: pk.prune(m, speedup=2),
        lambda m: pk.prune(m, speedup=2, data=DATA),
        lambda m: pk.fine_tune(m, DATA),
        lambda m: pk.sparsify(m, DATA),
        lambda m: pk.cluster(m),
        lambda m: pk.quantize(m, X),
        lambda m: pk.distil(m, DATA, teacher=functional()),
        lambda m: pk.distil("lenet", DATA, teacher=m),
        lambda m: pk.compare(m, functional(), DATA),
        lambda m: pk.compare(functional(), m, DATA),
        lambda m: pk.export(m, "net.tflite"),
    ],
)
def test_functions_refuse_it(call, own: keras.Model) -> None:
    with pytest.raises(pk.UserError, match=SAID) as caught:
        call(own)
    assert "\n" not in str(caught.value)


def test_files_of_it_are_refused(own: keras.Model, tmp_path: Path, capsys) -> None:
    own.save(file := tmp_path / "own.keras")
    np.savez(data := tmp_path / "x.npz", x=X)
    with pytest.raises(pk.UserError, match=SAID):
        pk.import_model(file)
    with pytest.raises(pk.UserError, match=SAID):
        network_with_notes("model", str(file), 1.0, None, 0)
    small = str(tmp_path / "small.keras")
    for words in (
        ["profile", str(file)],
        ["prune", str(file), "--speedup", "2", "-o", small],
        ["compare", str(file), str(file), "--data", str(data)],
    ):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert "The model own is a subclassed one (Own)" in capsys.readouterr().err
    assert not Path(small).exists()


def test_a_teacher_is_asked_and_no_more(own: keras.Model) -> None:
    student = functional()
    before = [np.array(weight) for weight in own.weights]
    small = pk.distil(student, DATA, teacher=own, **COURSE)
    assert small.model.name == "functional"
    # Without labels there is nothing to learn from but what it answers.
    tuned = pk.fine_tune(student, X, teacher=[own], **{**COURSE, "epochs": 30})
    wanted = own.predict(X, verbose=0)
    far, near = (
        np.square(each.predict(X, verbose=0) - wanted).mean() for each in (student, tuned.model)
    )
    assert near < far
    for ours, theirs in zip(own.weights, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_teacher_without_a_loss_is_refused() -> None:
    with pytest.raises(pk.UserError, match=r"Own\), of which its loss alone says.*own\.compile\(loss="):
        pk.fine_tune(functional(), DATA, teacher=Own(name="own"), **COURSE)


def test_within_a_functional_model_it_is_a_layer_that_is_left_whole() -> None:
    model = functional(Own(name="within"))
    tuned = pk.fine_tune(model, DATA, **COURSE)
    assert pk.compare(model, tuned, DATA).agreement is not None
    with pytest.raises(pk.UserError, match=r"no channels that may be cut.*within \(Own\)"):
        pk.prune(model, speedup=2, data=DATA)
