"""The API on inputs alone: what is agreed with is counted by NumPy from both models' outputs."""

from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import pocketkube as pk
from pocketkube.api.data import dataset_of
from pocketkube.litert.running import LiteRTModel
from pocketkube.models import build_model

RNG = np.random.default_rng(0)
X = RNG.random((160, 8, 8, 1), dtype=np.float32)
COURSE = {"epochs": 1, "training": {"batch_size": 32}}


def network() -> keras.Model:
    """Tells in which half of an image there is more; it is not compiled, and has no labels left."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 1))
    h = keras.layers.Conv2D(16, 3, activation="relu")(x)
    h = keras.layers.Conv2D(16, 3, activation="relu")(h)
    model = keras.Model(x, keras.layers.Dense(2, "softmax")(keras.layers.Flatten()(h)), name="halves")
    model.compile("adam", "sparse_categorical_crossentropy")
    y = (X[:, :4].sum((1, 2, 3)) > X[:, 4:].sum((1, 2, 3))).astype(int)
    model.fit(X, y, epochs=10, batch_size=16, verbose=0)
    return keras.Model(model.inputs, model.outputs, name="halves")


@pytest.fixture(scope="module")
def done() -> SimpleNamespace:
    """A network after each call."""
    model = network()
    pruned = pk.prune(model, speedup=2, data=X, round_to=1)
    tuned = pk.fine_tune(pruned, X, **COURSE)
    return SimpleNamespace(model=model, pruned=pruned, tuned=tuned, levels=pk.quantize(tuned, X))


def classes(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return model.predict(x, verbose=0).argmax(-1)


def test_the_original_is_learnt_from_and_agreed_with(done: SimpleNamespace) -> None:
    assert done.pruned.steps[-1].settings.criterion == "taylor"
    assert done.pruned.speedup > 1.8
    held_out = dataset_of(X, done.model, "test")
    validation = held_out.validation.arrays[0][0]
    wanted = (classes(done.model, validation) == classes(done.tuned.model, validation)).mean()
    assert max(done.tuned.steps[-1].history.val_score) == pytest.approx(wanted)
    assert done.tuned.task.wording.score_name == "agreement_with_original"
    # Of the same data the part is compared that was not trained on.
    test = held_out.test.arrays[0][0]
    found = pk.compare(done.model, done.levels, X)
    agreement = (classes(done.model, test) == classes(done.levels.model, test)).mean()
    assert (found.examples, found.before.score) == (len(test), None)
    assert found.agreement == pytest.approx(agreement)


def test_with_labels_a_comparison_is_by_them(done: SimpleNamespace) -> None:
    y = np.random.default_rng(1).integers(0, 2, len(X))
    found = pk.compare(done.model, done.tuned, (X, y))
    test = dataset_of((X, y), done.model, "test").test
    (x,), (labels,) = test.arrays
    assert (found.wording.score_name, found.examples) == ("accuracy", len(x))
    for model, figures in ((done.model, found.before), (done.tuned.model, found.after)):
        assert figures.score == pytest.approx((classes(model, x) == labels.ravel()).mean())


def test_the_file_is_calibrated_on_inputs_alone(done: SimpleNamespace, tmp_path: Path) -> None:
    exported = pk.export(done.levels, tmp_path / "net.tflite", X)
    assert exported.number_format == "int8"
    said = [run[0].copy() for run in LiteRTModel(exported.path).predict([X])]
    same = (np.concatenate(said).argmax(-1) == classes(done.levels.model, X)).mean()
    assert exported.agreement.share == pytest.approx(same)


def test_a_teacher_stands_in_for_labels(done: SimpleNamespace) -> None:
    bare = done.pruned.model
    with pytest.raises(pk.UserError, match=r"the data have no labels.*give teacher=model"):
        pk.fine_tune(bare, X)
    taught = pk.fine_tune(bare, X, teacher=done.model, **COURSE)
    assert taught.task.to_original
    levels = pk.quantize(taught, X, teacher=done.model, **COURSE)
    assert levels.steps[-1].history is not None
    x = np.zeros((20, 28, 28, 1), "float32") + RNG.random((20, 1, 1, 1), dtype=np.float32)
    student = pk.distil("lenet", x, teacher=build_model("lenet", (28, 28, 1), 3), width=0.25, epochs=1)
    assert student.model.output_shape == (None, 3)
    assert student.task.to_original


def test_labels_that_come_later_count(done: SimpleNamespace) -> None:
    y = np.arange(len(X)) % 2
    judged = pk.fine_tune(done.tuned, (X, y), teacher=done.model, **COURSE)
    assert judged.task.wording.score_name == "accuracy"
    assert pk.fine_tune(judged, X, **COURSE).task.wording.score_name == "agreement_with_original"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"training": {"class_weights": "balanced"}}, "class_weights is for labels, of which data has"),
        ({"training": {"label_smoothing": 0.1}}, "label_smoothing is for labels"),
        ({"distillation": {"weight": 0.0}}, "weight is 0, and data has no labels"),
    ],
)
def test_what_takes_labels_is_refused(settings: dict, said: str, done: SimpleNamespace) -> None:
    with pytest.raises(pk.UserError, match=said):
        pk.fine_tune(done.pruned, X, **settings)


def test_splits_have_labels_all_or_none(done: SimpleNamespace) -> None:
    with pytest.raises(
        pk.UserError, match=r"all splits need as many arrays of labels, .*; they have 0, 1"
    ):
        pk.fine_tune(done.pruned, pk.Splits(X, test=(X[:9], np.arange(9) % 2)))
