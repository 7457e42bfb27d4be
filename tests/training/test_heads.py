"""The task's loss is what Keras itself computes of the compiled model, whatever it is compiled with."""

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, ops

from pocketkube.bundle import load_model
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset, Labels
from pocketkube.errors import UserError
from pocketkube.measures import Classes, MultiLabel
from pocketkube.spec import document_of, parse_spec
from pocketkube.spec.sections import DatasetSettings
from pocketkube.stages.tasks import settled_task
from pocketkube.training.evaluation import evaluate
from pocketkube.training.heads import ClassHead, MultiLabelHead
from pocketkube.training.task import Task, infer_task, task_of_config

RNG = np.random.default_rng(0)
COUNT = 80
X = RNG.normal(size=(COUNT, 6)).astype("float32")
Y = {
    "four": RNG.integers(0, 4, COUNT),
    "rows": np.eye(4)[RNG.integers(0, 4, COUNT)],
    "soft": RNG.dirichlet(np.ones(4), COUNT),
    "two": RNG.integers(0, 2, COUNT),
    "shares": RNG.random((COUNT, 1)),
    "three values": RNG.normal(size=(COUNT, 3)),
    "value": RNG.normal(size=(COUNT, 1)),
    "pixels": RNG.random((COUNT, 3)),
}


@keras.saving.register_keras_serializable("tests")
def cubed(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred) ** 3, axis=-1)


@keras.saving.register_keras_serializable("tests")
def mean_of_all(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred))


@keras.saving.register_keras_serializable("tests")
def own_crossentropy(y_true, y_pred):
    """Of one-hot rows."""
    return -ops.sum(y_true * ops.log(y_pred + 1e-3), axis=-1)


@keras.saving.register_keras_serializable("tests")
def own_of_numbers(y_true, y_pred):
    rows = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1])
    return -ops.sum(rows * ops.log(y_pred + 1e-3), axis=-1)


@keras.saving.register_keras_serializable("tests")
class Powered(losses.Loss):
    def __init__(self, power: float = 2.0, name: str = "powered", **more) -> None:
        super().__init__(name=name, **more)
        self.power = power

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred) ** self.power, axis=-1)

    def get_config(self):
        return {**super().get_config(), "power": self.power}


class OwnMean(losses.Loss):
    """Squares, the mean over some axes or all: one number for each of the others."""

    def __init__(self, axis: Any, **more) -> None:
        super().__init__(**more)
        self.axis = axis

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=self.axis)


ENDS = {
    "logits": lambda x, name: layers.Dense(4, name=name)(x),
    "classes": lambda x, name: layers.Dense(4, activation="softmax", name=name)(x),
    "unit": lambda x, name: layers.Dense(1, activation="sigmoid", name=name)(x),
    "tanh": lambda x, name: layers.Dense(1, activation="tanh", name=name)(x),
    "linear": lambda x, name: layers.Dense(1, name=name)(x),
    "values": lambda x, name: layers.Dense(3, name=name)(x),
    "sigmoids": lambda x, name: layers.Dense(3, activation="sigmoid", name=name)(x),
    "steps": lambda x, name: layers.Dense(4, activation="softmax", name=name)(
        layers.Reshape((3, 2))(x)
    ),
}


@dataclass(frozen=True)
class Case:
    ends: str
    labels: str
    loss: Any
    weights: Any = None
    kinds: str = ""
    keras_labels: dict[int, np.ndarray] = field(default_factory=dict)


SPARSE, OF_LOGITS = (losses.SparseCategoricalCrossentropy(from_logits=w) for w in (False, True))
CASES = {
    "string, sparse": Case("classes", "four", "sparse_categorical_crossentropy"),
    "crossentropy of numbers": Case("classes", "four", "crossentropy"),
    "crossentropy of rows": Case("classes", "rows", "crossentropy"),
    "crossentropy of a unit": Case("unit", "two", "ce"),
    "object, logits": Case("logits", "four", OF_LOGITS),
    "function": Case("classes", "four", losses.sparse_categorical_crossentropy),
    "logits taken for probabilities": Case("logits", "four", SPARSE),
    "rows, categorical": Case("classes", "rows", "categorical_crossentropy"),
    "soft rows": Case("classes", "soft", "categorical_crossentropy"),
    "numbers as rows": Case(
        "classes", "four", "categorical_crossentropy", keras_labels={0: np.eye(4)[Y["four"]]}
    ),
    "smoothed in the loss": Case(
        "logits", "rows", losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    ),
    "focal": Case("classes", "rows", losses.CategoricalFocalCrossentropy(gamma=3.0)),
    "a unit": Case("unit", "two", "binary_crossentropy"),
    "a unit of logits": Case("linear", "two", losses.BinaryCrossentropy(from_logits=True)),
    "a unit, smoothed": Case("unit", "two", losses.BinaryCrossentropy(label_smoothing=0.1)),
    "a unit, shares": Case("unit", "shares", "binary_crossentropy"),
    "hinge": Case("tanh", "two", "hinge"),
    "squares of classes": Case("classes", "rows", "mse"),
    "divergence": Case("classes", "soft", "kl_divergence"),
    "own loss of rows": Case("classes", "rows", own_crossentropy),
    "mse": Case("values", "three values", "mse", kinds="regression"),
    "mae": Case("linear", "value", "mean_absolute_error", kinds="regression"),
    "huber": Case("values", "three values", losses.Huber(delta=0.3), kinds="regression"),
    "log_cosh": Case("values", "three values", "log_cosh", kinds="regression"),
    "an autoencoder's": Case("sigmoids", "pixels", "binary_crossentropy", kinds="regression"),
    "sum of classes": Case("classes", "rows", losses.CategoricalCrossentropy(reduction="sum")),
    "sum of one number": Case("classes", "rows", losses.Dice(reduction="sum")),
    "sum": Case("values", "three values", losses.MeanSquaredError(reduction="sum"), kinds="regression"),
    "own function": Case("values", "three values", cubed, kinds="regression"),
    "own class": Case("values", "three values", Powered(1.5), kinds="regression"),
    "own mean": Case("values", "three values", mean_of_all, kinds="regression"),
    "one weight": Case("values", "three values", "mse", [0.25], kinds="regression"),
    "logits and probabilities": Case("logits, classes", "four, four", [OF_LOGITS, SPARSE]),
    "probabilities and logits": Case("classes, logits", "four, four", [SPARSE, OF_LOGITS], [0.3, 2.0]),
    "one loss for all": Case("classes, classes", "four, four", "sparse_categorical_crossentropy"),
    "by name": Case(
        "logits, unit",
        "four, two",
        {"head1": "binary_crossentropy", "head0": OF_LOGITS},
        {"head1": 0.2, "head0": 1.5},
    ),
    "numbers and rows": Case("classes, classes", "four, rows", [SPARSE, "categorical_crossentropy"]),
    "classes and values": Case(
        "logits, values",
        "four, three values",
        [OF_LOGITS, "mae"],
        [1.0, 0.1],
        "classification, regression",
    ),
    "three heads": Case(
        "values, unit, classes",
        "three values, two, four",
        {"head0": losses.Huber(), "head1": "binary_crossentropy", "head2": SPARSE},
        {"head0": 0.01, "head1": 3.0, "head2": 0.5},
        "regression, classification, classification",
    ),
}


def split(names: str) -> list[str]:
    return names.split(", ")


def net(ends: str, structure: str = "list") -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((6,))
    outputs = [ENDS[end](x, f"head{n}") for n, end in enumerate(split(ends))]
    if structure == "dict":
        # Keys in another order than the layers, and than the alphabet.
        return keras.Model(x, {f"key{9 - n}": out for n, out in enumerate(outputs)}, name="net")
    return keras.Model(x, outputs if len(outputs) > 1 else outputs[0], name="net")


def data_of(folder: Path, labels: list[np.ndarray]) -> Dataset:
    named = {f"y{n}": y for n, y in enumerate(labels)} if len(labels) > 1 else {"y": labels[0]}
    np.savez(folder / "data.npz", x=X, **named)
    return load_dataset(DatasetSettings(npz=str(folder / "data.npz")))


def reloaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "net.keras")
    return load_model(folder / "net.keras")


def told_again(task: Task) -> Task:
    return task_of_config(json.loads(json.dumps(task.config)))


def ours(task: Task, model: keras.Model, labels: Any, smoothing: float = 0.0) -> float:
    return float(np.mean(task.loss(labels, model(X), smoothing)))


def theirs(model: keras.Model, labels: Any) -> float:
    return float(model.compute_loss(X, labels, model(X)))


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_what_keras_computes(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    given = [Y[each] for each in split(case.labels)]
    model = net(case.ends)
    model.compile("sgd", loss=case.loss, loss_weights=case.weights)
    if "Huber" not in type(case.loss).__name__:
        # Keras saves Huber without its delta.
        model = reloaded(model, tmp_path)
    kinds = data_of(tmp_path, given).labels
    task = told_again(infer_task(model, *kinds))
    told = [case.keras_labels.get(n, y) for n, y in enumerate(given)]
    wanted = theirs(model, told if len(told) > 1 else told[0])
    assert ours(task, model, given) == pytest.approx(wanted, rel=1e-5)
    wanted_kinds = case.kinds or ", ".join(["classification"] * len(given))
    assert ", ".join(head.kind for head in task.heads) == wanted_kinds


# Over the mean of the weights, or not.
REDUCTIONS = ["sum_over_batch_size", "mean_with_sample_weight"]


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_examples_count_as_in_keras(reduction: str) -> None:
    model = net("values, logits")
    own = losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    model.compile(loss=[losses.MeanSquaredError(reduction=reduction), own], loss_weights=[1.0, 0.3])
    labels, weights = [Y["three values"], Y["four"]], 100 * RNG.random(COUNT)
    wanted = model.evaluate(X, labels, COUNT, 0, [weights, weights], return_dict=True)["loss"]
    task = told_again(replace(infer_task(model, None, 4), weighted=2))
    assert ours(task, model, [*labels, weights]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_of_classes_count_as_in_keras(reduction: str) -> None:
    model, weights = net("logits"), (0.5, 20.0, 3.0, 7.0)
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction=reduction)
    model.compile(loss=loss)
    # Keras takes weights of classes in fit alone, and makes such weights of examples of them.
    each = np.array(weights)[Y["four"]]
    wanted = model.evaluate(X, Y["four"], COUNT, 0, each, return_dict=True)["loss"]
    (head,) = infer_task(model, 4).heads
    task = told_again(Task((replace(head, class_weights=weights),), ""))
    assert ours(task, model, Y["four"]) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_weights_and_masks_count_as_in_keras(reduction: str, weighted: bool) -> None:
    words = keras.Input((5,), dtype="int32")
    steps = layers.LSTM(4, return_sequences=True)(layers.Embedding(9, 3, mask_zero=True)(words))
    model = keras.Model(words, layers.Dense(4, activation="softmax")(steps))
    model.compile(loss=losses.SparseCategoricalCrossentropy(reduction=reduction))
    x = RNG.integers(1, 9, (20, 5)) * (np.arange(5) < RNG.integers(1, 6, (20, 1)))
    labels, weights = RNG.integers(0, 4, (20, 5)), 100 * RNG.random(20)
    told = np.repeat(weights[:, None], 5, axis=1) if weighted else None
    wanted = float(model.compute_loss(x, labels, model(x), told))
    task = infer_task(model, Labels(4, shape=(5,)))
    given = labels
    if weighted:
        task, given = replace(task, weighted=1), [labels, weights]
    assert float(np.mean(task.loss(given, model(x)))) == pytest.approx(wanted, rel=1e-5)


def test_positions_have_a_class_each() -> None:
    model = net("steps")
    model.compile(loss=SPARSE)
    labels = RNG.integers(0, 4, (COUNT, 3))
    task = infer_task(model, Labels(4, shape=(3,)))
    assert ours(task, model, labels) == pytest.approx(theirs(model, labels), rel=1e-5)
    hits = np.asarray(model(X)).argmax(-1) == labels
    np.testing.assert_allclose(task.score([labels], model(X)), hits.mean(axis=1), rtol=1e-6)


def test_masked_positions_count_as_in_keras() -> None:
    words = keras.Input((5,), dtype="int32")
    steps = layers.LSTM(4, return_sequences=True)(layers.Embedding(9, 3, mask_zero=True)(words))
    model = keras.Model(words, layers.Dense(4, activation="softmax")(steps))
    model.compile(loss=SPARSE)
    x = RNG.integers(0, 9, (20, 5)) * (np.arange(5) < RNG.integers(1, 6, (20, 1)))
    labels = RNG.integers(0, 4, (20, 5))
    wanted = float(model.compute_loss(x, labels, model(x)))
    given = np.mean(infer_task(model, Labels(4, shape=(5,))).loss(labels, model(x)))
    assert float(given) == pytest.approx(wanted, rel=1e-5)
    assert (x == 0).any()


@pytest.mark.parametrize(
    ("loss", "weights"),
    [
        ({"key9": OF_LOGITS, "key8": "huber"}, {"key8": 0.2, "key9": 2.0}),
        ({"key8": "mse"}, None),
        ({"key9": SPARSE, "key8": None}, None),
    ],
)
def test_outputs_that_are_a_dict(loss: Any, weights: Any, tmp_path: Path) -> None:
    model = net("logits, values", "dict")
    model.compile("sgd", loss=loss, loss_weights=weights)
    model = reloaded(model, tmp_path)
    # model.outputs is in the order of the keys: key8, key9.
    labels = {"key8": Y["three values"], "key9": Y["four"]}
    task = told_again(infer_task(model, None, 4))
    assert [head.name for head in task.heads] == ["key8", "key9"]
    given = [labels[key] for key in sorted(labels)]
    assert ours(task, model, given) == pytest.approx(theirs(model, labels), rel=1e-5)


@pytest.mark.parametrize("spared", [True, False])
def test_an_output_without_a_loss_is_neither_trained_nor_scored(spared: bool, tmp_path: Path) -> None:
    model = net("classes, values, logits")
    model.compile("sgd", loss=[SPARSE, None, OF_LOGITS], loss_weights=[2.0, None, 0.5])
    given = [Y["four"], Y["three values"], Y["two"]]
    # Keras takes labels of all outputs, or of those that have a loss.
    labels = [given[0], given[2]] if spared else given
    task = told_again(infer_task(model, *data_of(tmp_path, labels).labels))
    assert ours(task, model, labels) == pytest.approx(theirs(model, labels), rel=1e-5)
    hits = [np.asarray(model(X)[n]).argmax(-1) == given[n] for n in (0, 2)]
    np.testing.assert_allclose(task.scores(labels, model(X)), np.stack(hits, 1))
    np.testing.assert_allclose(task.score(labels, model(X)), np.mean(hits, axis=0))
    assert [head.loss is None for head in task.heads] == [False, True, False]
    assert "head1: no loss, so that it is neither trained nor scored" in task.description


def test_each_output_is_read_off_its_own_ending() -> None:
    x = keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation="softmax")], name="inner")
    outputs = [
        layers.Reshape((4,))(inner(x)),
        layers.Dense(4, name="linear")(x),
        layers.Dense(1, activation="sigmoid", name="unit")(x),
        layers.Activation("sigmoid", name="after")(layers.Dense(1)(x)),
        layers.Dense(2, name="values")(x),
    ]
    model = keras.Model(x, outputs)
    task = infer_task(model, 4, 4, 2, 2, Labels(None, shape=(2,)))
    assert [getattr(head, "from_logits", None) for head in task.heads] == [
        False,
        True,
        False,
        False,
        None,
    ]
    labels = [Y["four"], Y["four"], Y["two"], Y["two"], Y["three values"][:, :2]]
    model.compile(loss=[SPARSE, OF_LOGITS, "binary_crossentropy", "binary_crossentropy", "mse"])
    assert ours(task, model, labels) == pytest.approx(theirs(model, labels), rel=1e-5)
    assert "as outputs end and labels are" in task.description


def test_evaluating_gives_what_keras_evaluates_to(tmp_path: Path) -> None:
    model = net("logits, values")
    model.compile(loss=[OF_LOGITS, "mae"], loss_weights=[1.0, 0.1])
    dataset = data_of(tmp_path, [Y["four"], Y["three values"]])
    task = infer_task(model, *dataset.labels)
    found = evaluate(model, dataset.train, task, batch_size=32)
    ((x,), labels) = dataset.train.arrays
    wanted = model.evaluate(x, list(labels), batch_size=32, verbose=0, return_dict=True)
    assert found.loss == pytest.approx(wanted["loss"], rel=1e-5)
    # Accuracy and an error have no unit in common: the weights of the losses say how they count.
    assert found.score == -found.loss
    logits, values = (np.asarray(each) for each in model(x))
    accuracy = (logits.argmax(1) == labels[0]).mean()
    assert found.heads == pytest.approx((accuracy, -np.abs(values - labels[1]).mean()), rel=1e-5)


def test_labels_are_smoothed_for_classes_alone() -> None:
    model = net("logits, unit, values")
    smooth = [
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        losses.BinaryCrossentropy(label_smoothing=0.1),
        "mse",
    ]
    model.compile(loss=[OF_LOGITS, "binary_crossentropy", "mse"])
    given = [Y["four"], Y["two"], Y["three values"]]
    found = ours(infer_task(model, 4, 2, None), model, given, smoothing=0.1)
    model.compile(loss=smooth)
    assert found == pytest.approx(theirs(model, [np.eye(4)[given[0]], *given[1:]]), rel=1e-5)


def test_mixed_rows_may_be_narrower_than_the_output() -> None:
    model = net("classes, unit")
    task = infer_task(model, 3, 2)
    rows, pair = RNG.dirichlet(np.ones(3), COUNT), RNG.dirichlet(np.ones(2), COUNT)
    model.compile(loss=["categorical_crossentropy", "binary_crossentropy"])
    wanted = theirs(model, [np.pad(rows, ((0, 0), (0, 1))), pair[:, 1:]])
    assert ours(task, model, [rows.astype("float32"), pair.astype("float32")]) == pytest.approx(wanted)


def test_teachers_are_compared_by_each_heads_own_distance() -> None:
    model, teacher = net("logits, values"), net("logits, values")
    teacher.set_weights([w + 0.1 * RNG.normal(size=w.shape) for w in teacher.get_weights()])
    model.compile(loss=[OF_LOGITS, "mae"], loss_weights=[2.0, 0.1])
    task = infer_task(model, 4, None)
    (z, v), (tz, tv) = (tuple(map(np.asarray, each(X))) for each in (model, teacher))
    p, q = (np.exp(each / 4) / np.exp(each / 4).sum(1, keepdims=True) for each in (tz, z))
    wanted = 2 * 16 * (p * np.log(p / q)).sum(1) + 0.1 * np.abs(v - tv).mean(1)
    given = task.distance_to([z, v], task.softened([tz, tv], 4.0), 4.0)
    np.testing.assert_allclose(given, wanted, rtol=2e-4)


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
@pytest.mark.parametrize("several", [False, True])
def test_teachers_count_beside_labels_as_the_loss_is_reduced(several: bool, reduction: str) -> None:
    kind = losses.BinaryCrossentropy if several else losses.CategoricalCrossentropy
    loss = kind(from_logits=True, reduction=reduction)
    head = (
        MultiLabelHead("tags", MultiLabel(), loss, num_classes=4)
        if several
        else ClassHead("classes", Classes(), loss, num_classes=4)
    )
    z, said = RNG.normal(size=(2, COUNT, 3, 4)).astype("float32")
    shares = ops.sigmoid(said) if several else ops.softmax(said)
    found = float(np.mean(head.distance_to(z, head.softened(said, 1.0), 1.0, shares)))
    # A divergence is what the cross-entropy is more than that of the teacher with itself.
    assert found == pytest.approx(float(loss(shares, z) - loss(shares, said)), rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "summed"),
    [
        (partial(losses.CategoricalCrossentropy, from_logits=True), COUNT * 3),
        (losses.Dice, 1),
        (partial(losses.Dice, axis=(1, 2)), COUNT),
        (partial(OwnMean, axis=None), 1),
        (partial(OwnMean, axis=(1, 2)), COUNT),
        (partial(OwnMean, axis=-1), COUNT * 3),
    ],
    ids=["each position", "all", "each example", "own, all", "own, each example", "own, each position"],
)
def test_a_sum_is_as_many_times_the_mean_of_the_loss_and_of_the_distance_to_teachers(
    loss: Any, summed: int
) -> None:
    z, said = RNG.normal(size=(2, COUNT, 3, 4)).astype("float32")
    rows = np.eye(4, dtype="float32")[RNG.integers(0, 4, (COUNT, 3))]
    found = {}
    for reduction in ("sum", "sum_over_batch_size"):
        head = ClassHead("classes", Classes(), loss(reduction=reduction), num_classes=4)
        distance = head.distance_to(z, head.softened(said, 1.0), 1.0, rows)
        found[reduction] = np.mean([head.losses(rows, z), distance], axis=1)
    np.testing.assert_allclose(found["sum"], summed * found["sum_over_batch_size"], rtol=1e-4)


@pytest.mark.parametrize(
    ("ends", "loss", "labels", "said"),
    [
        (
            "logits, unit",
            None,
            (4, 10),
            "Output head1 of the model net tells 2 classes apart, but y1 holds 10.",
        ),
        ("logits", None, (10,), "The model net tells 4 classes apart, but the dataset has 10."),
        (
            "logits, values",
            [OF_LOGITS, "mse"],
            (4, Labels(3, shape=())),
            "Output head1 of the model net gives values of the shape (3,) an example, but the labels "
            "of y1 have (), and is compiled with mse, a loss of values: compile it with a "
            "cross-entropy to tell classes apart.",
        ),
        (
            "logits, classes",
            [OF_LOGITS, SPARSE],
            (4, None),
            "Output head1 of the model net is compiled for classification, but the labels of y1 are no "
            "whole numbers: give class numbers, or a row over classes.",
        ),
        (
            "logits, values",
            None,
            (4, Labels(None, shape=(2,))),
            "Output head1 of the model net gives values of the shape (3,) an example, but the labels "
            "of y1 have (2,).",
        ),
        (
            "steps",
            None,
            (Labels(4, shape=()),),
            "The model net gives classes of the shape (3, 4) an example, but the labels of the dataset "
            "have (): one label for each row of classes, or a row of them.",
        ),
        (
            "values",
            losses.BinaryCrossentropy(from_logits=True),
            (None,),
            "The model net gives logits, but the labels of the dataset are values: end it in a "
            "sigmoid, so that they can be compared.",
        ),
        (
            "logits, unit",
            None,
            (4,),
            "The dataset has labels for 1 outputs, but the model net has 2 outputs: give y0, y1, … in "
            "their order.",
        ),
        (
            "logits, unit",
            {"head0": OF_LOGITS},
            (4, 2),
            "The model net is compiled with losses that do not fit its outputs: Expected keys",
        ),
        (
            "values",
            ["mse", "mae"],
            (None,),
            "The model net is compiled with several losses for its output head0: give it one",
        ),
    ],
)
def test_what_does_not_fit_is_one_line_by_the_outputs_name(ends, loss, labels, said: str) -> None:
    model = net(ends)
    if loss is not None:
        model.compile(loss=loss)
    with pytest.raises(UserError) as caught:
        infer_task(model, *labels)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_loss_that_is_not_known_any_more_is_named() -> None:
    model = net("values")
    model.compile(loss=Powered(1.5))
    told = json.loads(json.dumps(infer_task(model, None).config).replace("tests>Powered", "tests>Gone"))
    with pytest.raises(UserError, match="The loss of output head0 is not known here: decorate it"):
        task_of_config(told)


def test_a_loss_of_ones_own_that_takes_numbers_is_given_no_rows(tmp_path: Path) -> None:
    model = net("classes, unit")
    model.compile(loss=[own_of_numbers, "binary_crossentropy"])
    dataset = data_of(tmp_path, [Y["four"], Y["two"]])
    plain = parse_spec({"model": "net.keras", "dataset": {"npz": "data.npz"}, "stages": []})
    task = settled_task(plain, model, dataset)
    labels = [Y["four"], Y["two"]]
    assert ours(task, model, labels) == pytest.approx(theirs(model, labels), rel=1e-5)
    for changing, named in (
        ({"label_smoothing": 0.1}, "label_smoothing"),
        ({"augmentation": {"mixup": 0.2}}, "augmentation.mixup"),
    ):
        spec = parse_spec(document_of(plain) | {"training": changing})
        with pytest.raises(UserError) as caught:
            settled_task(spec, model, dataset)
        assert str(caught.value) == (
            f"training: {named} makes rows of class numbers, but the loss own_of_numbers of output "
            "head0 takes numbers; leave it out, or give one-hot rows."
        )
