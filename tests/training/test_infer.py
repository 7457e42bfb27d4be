"""What outputs learn, by loss and labels; losses and scores are held against Keras's own."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics
from sklearn.utils.class_weight import compute_class_weight

from pocketkube.bundle import load_model
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError
from pocketkube.measures import Maps, MultiLabel
from pocketkube.search.judging import Judge, softened_outputs
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages.tasks import settled_task
from pocketkube.training.evaluation import evaluate
from pocketkube.training.task import Task, task_of_config

RNG = np.random.default_rng(0)
COUNT, VOID = 60, 255
X = RNG.normal(size=(COUNT, 6)).astype("float32")
MAPS = RNG.integers(0, 3, (COUNT, 4, 4))
HOLES = np.where(RNG.random(MAPS.shape) < 0.3, VOID, MAPS).astype("uint8")
MASKS = RNG.integers(0, 2, (COUNT, 4, 4, 1))
TAGS = RNG.random((COUNT, 3)) < 0.4
NUMBERS = RNG.integers(0, 3, COUNT)


@keras.saving.register_keras_serializable("tests_infer")
def cubed(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) ** 3, axis=-1)


GRID, UNIT, TAGGER, POSITIONS = (4, 4, 3), (4, 4, 1), (3,), (5, 3)
SPARSE = "sparse_categorical_crossentropy"
# Shape of the output, its end, its labels and its loss: what it learns.
KINDS = {
    "maps": (GRID, "softmax", MAPS, SPARSE, "segmentation"),
    "maps, not compiled": (GRID, None, MAPS.astype("uint8"), None, "segmentation"),
    "maps of a column": (GRID, "softmax", MAPS[..., None], SPARSE, "segmentation"),
    "maps in floats": (GRID, "softmax", MAPS.astype("float32"), SPARSE, "segmentation"),
    "maps in floats, not compiled": (GRID, "softmax", MAPS.astype("float32"), None, "segmentation"),
    "maps of rows": (GRID, "softmax", np.eye(3)[MAPS], "categorical_crossentropy", "segmentation"),
    "maps of rows, not compiled": (GRID, None, np.eye(3, dtype=int)[MAPS], None, "segmentation"),
    "maps of rows, dice": (GRID, "softmax", np.eye(3)[MAPS], losses.Dice(), "segmentation"),
    "masks": (UNIT, "sigmoid", MASKS, "binary_crossentropy", "segmentation"),
    "masks of floats": (UNIT, "sigmoid", MASKS[..., 0].astype("float32"), None, "segmentation"),
    "masks of flags": (UNIT, None, MASKS > 0, None, "segmentation"),
    "images": (UNIT, "sigmoid", RNG.random((COUNT, 4, 4, 1)), "binary_crossentropy", "regression"),
    "several labels": (TAGGER, "sigmoid", TAGS.astype("float32"), "binary_crossentropy", "multi_label"),
    "several labels, flags": (TAGGER, None, TAGS, None, "multi_label"),
    "several labels, focal": (TAGGER, "sigmoid", TAGS * 1, "binary_focal_crossentropy", "multi_label"),
    "one of three": (TAGGER, "softmax", NUMBERS, SPARSE, "classification"),
    "one of three in floats": (TAGGER, "softmax", NUMBERS * 1.0, SPARSE, "classification"),
    "one of three in floats, not compiled": (TAGGER, None, NUMBERS * 1.0, None, "classification"),
    "one of three, rows": (TAGGER, "softmax", np.eye(3)[NUMBERS], None, "classification"),
    "two in floats": ((1,), "sigmoid", TAGS[:, 0] * 1.0, "binary_crossentropy", "classification"),
    "two in floats, not compiled": ((1,), "sigmoid", TAGS[:, :1] * 1.0, None, "classification"),
    "two, a column of flags": ((1,), "sigmoid", TAGS[:, :1], "binary_crossentropy", "classification"),
    "counts": ((1,), None, NUMBERS * 7, "mse", "regression"),
    "counts, not compiled": ((1,), None, NUMBERS * 7, None, "regression"),
    "integers below 0": ((1,), None, NUMBERS - 2, "mae", "regression"),
    "counts of several": (TAGGER, None, MAPS[:, 0, :3] * 5, None, "regression"),
    "anchors": (POSITIONS, "softmax", RNG.integers(0, 3, (COUNT, 5)), SPARSE, "classification"),
    "boxes of anchors": ((5, 4), None, RNG.random((COUNT, 5, 4)), losses.Huber(), "regression"),
    "several labels of anchors": (
        *(POSITIONS, "sigmoid", RNG.integers(0, 2, (COUNT, 5, 3))),
        *("binary_focal_crossentropy", "multi_label"),
    ),
}


def net(shape: tuple[int, ...], end: str | None, loss: Any) -> keras.Model:
    keras.utils.set_random_seed(2)
    x = keras.Input((6,))
    h = layers.Reshape(shape)(layers.Dense(int(np.prod(shape)))(x))
    model = keras.Model(x, layers.Activation(end)(h) if end else h, name="net")
    if loss is not None:
        model.compile("sgd", loss)
    return model


def data_of(folder: Path, labels: np.ndarray) -> Dataset:
    np.savez(folder / "data.npz", x=X, y=labels)
    return load_dataset(DatasetSettings(npz=str(folder / "data.npz")))


def task_of(model: keras.Model, dataset: Dataset, **settings: Any) -> Task:
    """As it is written down and read again."""
    document = {"model": "net.keras", "dataset": {"npz": "data.npz"}, "stages": []} | settings
    task = settled_task(parse_spec(document), model, dataset)
    return task_of_config(json.loads(json.dumps(task.config)))


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_and_the_labels_tell_what_is_learnt(name: str, tmp_path: Path) -> None:
    shape, end, labels, loss, kind = KINDS[name]
    model, dataset = net(shape, end, loss), data_of(tmp_path, labels)
    task = task_of(model, dataset)
    assert task.heads[0].kind == kind
    ((x,), (y,)) = dataset.train.arrays
    outputs = model(x)
    found = task.loss([y], outputs)
    assert found.shape == (len(x),)
    if loss is not None:
        # Keras broadcasts labels of pixels that lack the last axis of a single unit.
        wanted = float(model.compute_loss(x, y, outputs))
        assert float(np.mean(found)) == pytest.approx(wanted, 1e-5)
    # TensorFlow and NumPy judge alike.
    scores = evaluate(model, dataset.train, task, batch_size=16)
    judged = task.measure.judge([y], task.measure.kept([np.asarray(outputs)]), [(None, *shape)])
    assert scores.score == pytest.approx(judged.score, rel=1e-5)


@keras.saving.register_keras_serializable("tests_infer")
class OwnCrossentropy(losses.Loss):
    """It brings labels to no rank, as Keras's own losses do."""

    def call(self, y_true, y_pred):
        right = keras.ops.cast(y_true, "float32")
        chance = right * y_pred + (1 - right) * (1 - y_pred)
        return -keras.ops.mean(keras.ops.log(chance + 1e-7), axis=-1)


@pytest.mark.parametrize("kind", ["int64", "float32", "bool"])
def test_a_loss_of_ones_own_is_given_a_column_for_a_single_unit(kind: str, tmp_path: Path) -> None:
    labels = TAGS[:, :1].astype(kind)
    model, dataset = net((1,), "sigmoid", OwnCrossentropy()), data_of(tmp_path, labels)
    task = task_of(model, dataset)
    ((x,), (y,)) = dataset.train.arrays
    wanted = float(model.compute_loss(x, y.reshape(-1, 1), model(x)))
    assert float(np.mean(task.loss([y], model(x)))) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("limits", [keras.ops.clip, lambda x, low, high: keras.ops.minimum(x, high)])
def test_probabilities_are_still_such_within_limits(limits, tmp_path: Path) -> None:
    x = keras.Input((6,))
    shares = layers.Dense(1, "sigmoid", bias_initializer="ones")(x)
    model = keras.Model(x, limits(shares, 1e-4, 1 - 1e-4))
    dataset = data_of(tmp_path, TAGS[:, 0] * 1)
    ((inputs,), (y,)) = dataset.train.arrays
    wanted = float(((model.predict(inputs, verbose=0)[:, 0] > 0.5) == (y.ravel() > 0.5)).mean())
    score = evaluate(model, dataset.train, task_of(model, dataset)).score
    assert score == pytest.approx(wanted)
    assert wanted != pytest.approx(float(y.mean()), abs=1e-3)


@pytest.mark.parametrize(
    ("end", "loss", "told"),
    [
        (None, None, " of logits, which the model ends in"),
        ("softmax", None, ", from the probabilities that the model ends in"),
        ("softmax", SPARSE, ", as the model was compiled"),
    ],
)
def test_it_is_told_what_the_loss_is_taken_of(end, loss, told: str, tmp_path: Path) -> None:
    task = task_of(net(TAGGER, end, loss), data_of(tmp_path, NUMBERS))
    assert task.description == f"sparse categorical crossentropy{told}"


SPARSE_OF_LOGITS = losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID)


@pytest.mark.parametrize("by_spec", [False, True])
def test_labels_that_do_not_count_count_nowhere(by_spec: bool, tmp_path: Path) -> None:
    told = net(GRID, None, SPARSE_OF_LOGITS)
    model, dataset = net(GRID, None, None if by_spec else SPARSE_OF_LOGITS), data_of(tmp_path, HOLES)
    settings = {"task": {"segmentation": {"ignore_class": VOID}}} if by_spec else {}
    task = task_of(model, dataset, **settings)
    ((x,), (y,)) = dataset.train.arrays
    assert (y == VOID).any()
    outputs = model(x)
    wanted = float(told.compute_loss(x, y, outputs))
    assert float(np.mean(task.loss([y], outputs))) == pytest.approx(wanted, rel=1e-5)
    classes, known = np.asarray(outputs).argmax(-1), y != VOID
    metric = metrics.MeanIoU(3)
    metric.update_state(y[known], classes[known])
    assert evaluate(model, dataset.train, task, batch_size=16).score == pytest.approx(
        float(metric.result()), rel=1e-5
    )
    judged = task.measure.judge([y], [classes], [(None, *GRID)]).heads[0]
    assert judged.score == pytest.approx(float(metric.result()))
    assert judged.also == (("pixel accuracy", pytest.approx((classes == y)[known].mean())),)
    assert np.sum(judged.confusion) == known.sum()
    # Smoothing takes rows over classes, which a label that does not count has none of.
    smooth = float(np.mean(task.loss([y], outputs, 0.1)))
    rows = np.eye(3)[np.where(known, y, 0)] * 0.9 + 0.1 / 3
    each = keras.ops.categorical_crossentropy(rows, outputs, from_logits=True)
    assert smooth == pytest.approx(float(np.mean(np.asarray(each)[known])), rel=1e-5)


@pytest.mark.parametrize("loss", [losses.Dice(), losses.Tversky(axis=(1, 2, 3))])
def test_a_loss_of_all_positions_cannot_leave_some_out(loss: losses.Loss, tmp_path: Path) -> None:
    settings = {"task": {"segmentation": {"ignore_class": VOID}}}
    with pytest.raises(UserError, match=r"cannot leave out those of the label 255: compile it with a"):
        task_of(net(GRID, "softmax", loss), data_of(tmp_path, HOLES), **settings)


def test_accuracy_is_of_the_positions_that_count(tmp_path: Path) -> None:
    words = np.where(RNG.random((COUNT, 5)) < 0.5, -1, RNG.integers(0, 3, (COUNT, 5)))
    model = net(POSITIONS, "softmax", losses.SparseCategoricalCrossentropy(ignore_class=-1))
    dataset = data_of(tmp_path, words)
    task = task_of(model, dataset)
    ((x,), (y,)) = dataset.train.arrays
    right = (np.asarray(model(x)).argmax(-1) == y)[y != -1].mean()
    assert evaluate(model, dataset.train, task, batch_size=16).score == pytest.approx(right)


@pytest.mark.parametrize("name", ["maps", "several labels", "masks"])
def test_scores_of_many_examples_are_keras_metrics(name: str, tmp_path: Path) -> None:
    shape, end, labels, loss, _ = KINDS[name]
    model, dataset = net(shape, end, loss), data_of(tmp_path, labels)
    task = task_of(model, dataset)
    ((x,), (y,)) = dataset.train.arrays
    outputs = np.asarray(model(x))
    if name == "several labels":
        metric = metrics.F1Score(average="macro", threshold=0.5)
        metric.update_state(y, outputs)
    else:
        metric = metrics.MeanIoU(max(2, shape[-1]))
        metric.update_state(y, outputs.argmax(-1) if shape[-1] > 1 else outputs > 0.5)
    wanted = float(metric.result())
    found = evaluate(model, dataset.train, task, batch_size=16)
    assert found.score == found.heads[0] == pytest.approx(wanted, rel=1e-5)
    # Which is not the mean over examples; that tells examples that became worse.
    assert found.each.shape == (len(x),)
    assert abs(found.each.mean() - wanted) > 1e-3
    wanted_outputs = softened_outputs(model, task, (x,))
    judged = Judge(model, task, ((x,), (y,)), wanted_outputs)()
    assert judged.score == pytest.approx(wanted, rel=1e-5)
    assert judged.distance == pytest.approx(0, abs=1e-6)


def test_a_class_that_is_nowhere_is_left_out_and_no_number_is_wrong() -> None:
    labels, outputs = np.array([[[0, 1], [1, 1]]]), np.zeros((1, 2, 2, 4))
    outputs[0, [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1
    measure = Maps()
    judged = measure.judge(labels, measure.kept(outputs), outputs.shape)
    assert judged.score == pytest.approx((1 / 2 + 2 / 3) / 2)
    outputs[0, 0, 0] = np.nan
    assert measure.judge(labels, measure.kept(outputs), outputs.shape).score == pytest.approx(1 / 3)
    tags, said = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[0.9, 0.6, 0.1], [0.2, 0.7, 0.1]])
    several = MultiLabel()
    wanted = (2 / 3 + 2 / 3) / 2
    assert several.judge(tags, several.kept(said), said.shape).score == pytest.approx(wanted)
    said[0, 0] = np.nan
    assert several.judge(tags, several.kept(said), said.shape).score == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("name", "weights"), [("maps", [1.0, 5.0]), ("one of three", "balanced"), ("masks", {1: 3})]
)
def test_weights_of_classes_are_keras_weights_of_samples(name: str, weights, tmp_path: Path) -> None:
    shape, end, labels, loss, _ = KINDS[name]
    model, dataset = net(shape, end, loss), data_of(tmp_path, labels)
    task = task_of(model, dataset, training={"class_weights": weights})
    ((x,), (y,)) = dataset.train.arrays
    count = max(2, shape[-1])
    by_class = {"maps": [1, 5, 1], "masks": [1, 3]}.get(name)
    if by_class is None:
        by_class = compute_class_weight("balanced", classes=np.arange(count), y=y)
    of_each = np.asarray(by_class, "float32")[y[..., 0] if name == "masks" else y]
    wanted = float(model.compute_loss(x, y, model(x), sample_weight=of_each))
    assert float(np.mean(task.loss([y], model(x)))) == pytest.approx(wanted, rel=1e-5)
    plain = task_of(model, dataset)
    np.testing.assert_allclose(task.score([y], model(x)), plain.score([y], model(x)))


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        (
            "maps",
            {"task": "regression"},
            "gives values of the shape (4, 4, 3) an example, but the labels",
        ),
        ("maps", {"task": "multi_label"}, "multi_label has one for each unit"),
        ("counts", {"training": {"class_weights": "balanced"}}, "no output tells classes apart"),
        ("maps", {"training": {"class_weights": [1, 1, 1, 1]}}, "received 4 weights"),
        ("several labels", {"training": {"class_weights": [1, 2]}}, "no output tells classes apart"),
    ],
)
def test_what_the_spec_says_has_to_fit(name: str, settings: dict, said: str, tmp_path: Path) -> None:
    shape, end, labels, loss, _ = KINDS[name]
    with pytest.raises(UserError) as caught:
        task_of(net(shape, end, loss), data_of(tmp_path, labels), **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [
        ("maps", "classification", "classification"),
        ("masks", "regression", "regression"),
        ("several labels", "regression", "regression"),
        ("anchors", "segmentation", "segmentation"),
    ],
)
def test_the_spec_says_what_labels_do_not_tell(name: str, task: str, kind: str, tmp_path: Path) -> None:
    shape, end, labels, _, _ = KINDS[name]
    found = task_of(net(shape, end, None), data_of(tmp_path, labels), task=task)
    assert found.heads[0].kind == kind


def test_labels_beyond_the_classes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tells 3 classes apart, but the dataset has 256"):
        task_of(net(GRID, "softmax", SPARSE), data_of(tmp_path, HOLES))
    with pytest.raises(UserError, match="has 256; a mask's white, 255, has to be 1"):
        task_of(net(UNIT, "sigmoid", None), data_of(tmp_path, (MASKS * 255).astype("uint8")))
    with pytest.raises(UserError, match="begin at -1: classes are 0 or more"):
        task_of(net(TAGGER, "softmax", SPARSE), data_of(tmp_path, NUMBERS - 1))


def test_examples_count_in_training_as_their_weights_say(tmp_path: Path) -> None:
    model = keras.Model(x := keras.Input((6,)), [layers.Dense(3)(x), layers.Dense(1)(x)], name="net")
    model.compile("sgd", [losses.SparseCategoricalCrossentropy(from_logits=True), "mse"])
    weights = RNG.random(COUNT) * 3
    values = RNG.normal(size=COUNT)
    np.savez(tmp_path / "data.npz", x=X, y0=NUMBERS, y1=values, sample_weight=weights)
    dataset = load_dataset(DatasetSettings(npz=str(tmp_path / "data.npz")))
    task = task_of(model, dataset)
    ((x,), (*labels, kept)) = dataset.train.arrays
    places = [int(np.flatnonzero((row == X).all(1))[0]) for row in x]
    np.testing.assert_allclose(kept, weights[places], rtol=1e-6)
    wanted = float(model.compute_loss(x, labels, model(x), sample_weight=kept))
    assert float(np.mean(task.loss([*labels, kept], model(x)))) == pytest.approx(wanted, rel=1e-5)
    # Validation and test examples are judged, all alike.
    assert len(dataset.validation.arrays[1]) == len(dataset.test.arrays[1]) == 2
    assert np.isfinite(evaluate(model, dataset.validation, task).loss)
    np.savez(tmp_path / "data.npz", x=X, y=NUMBERS, sample_weight=weights - 1)
    with pytest.raises(UserError, match="weights of examples are one number each, 0 or more"):
        load_dataset(DatasetSettings(npz=str(tmp_path / "data.npz")))


@pytest.mark.parametrize(
    ("loss", "compiled", "labels", "kind"),
    [
        ("mse", ["accuracy"], TAGS[:, :1] * 1.0, "classification"),
        ("mse", [metrics.BinaryAccuracy()], TAGS[:, 0], "classification"),
        ("mse", ["mae"], TAGS[:, :1] * 1.0, "regression"),
        ("mse", None, TAGS[:, :1] * 1.0, "regression"),
        (cubed, None, TAGS[:, :1] * 1.0, "classification"),
        (cubed, ["mae"], TAGS[:, :1] * 1.0, "regression"),
    ],
)
def test_metrics_tell_where_a_loss_does_not(loss, compiled, labels, kind: str, tmp_path: Path) -> None:
    model = net((1,), "sigmoid", None)
    model.compile("sgd", loss, metrics=compiled)
    model.save(tmp_path / "net.keras")
    task = task_of(load_model(tmp_path / "net.keras"), data_of(tmp_path, labels))
    assert task.heads[0].kind == kind
