"""What an original model answers, as labels: of each kind of output, by NumPy alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses

from pocketkube.data import Dataset, load_dataset
from pocketkube.data.batches import calibration_examples, materialize
from pocketkube.errors import UserError
from pocketkube.graph.dependency import trace_channels
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.criteria.taylor import taylor_scores
from pocketkube.spec.sections import DatasetSettings
from pocketkube.training.answers import answered
from pocketkube.training.task import Task, infer_task, task_of_config
from pocketkube.training.workers import SingleProcess

RNG = np.random.default_rng(0)
X = RNG.random((60, 6, 6, 1), dtype=np.float32)


def network(end: Callable[[Any], Any], loss: Any = None) -> keras.Model:
    keras.utils.set_random_seed(1)
    x = keras.Input((6, 6, 1))
    h = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    model = keras.Model(x, end(layers.Conv2D(6, 3, padding="same", activation="relu")(h)), name="net")
    # Far enough from zero that answers differ.
    model.set_weights([3 * w for w in model.get_weights()])
    if loss is not None:
        model.compile("adam", loss)
    return model


def dense(units: int, activation: str | None = None, name: str = "end") -> Callable[[Any], Any]:
    return lambda h: layers.Dense(units, activation, name=name)(layers.Flatten()(h))


def brier(y: Any, z: Any) -> Any:
    return keras.ops.mean((y - z) ** 2, axis=-1)


CLASSES: Any = (lambda z: z.argmax(-1), "agreement_with_original")
PIXELS: Any = (lambda z: z.argmax(-1), "mean_iou_with_original")
HALF: Any = (lambda z: z > 0.5, "macro_f1_with_original")
VALUES: Any = (lambda z: z, "negative_mae_with_original")
CASES = {
    "softmax, not compiled": (dense(3, "softmax"), None, CLASSES),
    "logits, by the loss": (dense(3), losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
    "logits, by their name": (dense(3, name="logits"), None, CLASSES),
    "rows, by the loss": (dense(3, "softmax"), "categorical_crossentropy", CLASSES),
    "a loss of one's own": (dense(3, "softmax"), brier, CLASSES),
    "one unit": (
        dense(1, "sigmoid"),
        "binary_crossentropy",
        (lambda z: z[:, 0] > 0.5, "agreement_with_original"),
    ),
    "pixels": (lambda h: layers.Conv2D(3, 1, activation="softmax")(h), None, PIXELS),
    "masks": (
        lambda h: layers.Conv2D(1, 1)(h),
        losses.BinaryCrossentropy(from_logits=True),
        (lambda z: z[..., 0] > 0, "mean_iou_with_original"),
    ),
    "several labels": (dense(4, "sigmoid"), None, HALF),
    "values": (dense(2), "mse", VALUES),
    "values, not compiled": (dense(2), None, VALUES),
}


def data(folder: Path) -> Dataset:
    np.savez(folder / "x.npz", x=X)
    return load_dataset(DatasetSettings(npz="x.npz"), folder)


@pytest.mark.parametrize("name", CASES)
def test_answers_are_labels(name: str, tmp_path: Path) -> None:
    end, loss, (wanted, score_name) = CASES[name]
    model = network(end, loss)
    task = task_of_config(infer_task(model).config)
    assert task.to_original
    assert task.wording.score_name == score_name
    dataset = answered(data(tmp_path), model, task)
    (x,), (y,) = materialize(dataset.test, None, 0)
    outputs = model.predict(x, verbose=0)
    np.testing.assert_array_equal(y, wanted(outputs).astype(y.dtype))
    assert not dataset.train.arrays[1]
    assert dataset.labels[0].shape == y.shape[1:]
    # The original agrees with itself in full, and what is drawn from it tells of its channels.
    full = 0.0 if score_name.startswith("negative") else 1.0
    assert float(task.score_of_all([y], outputs)) == pytest.approx(full, abs=1e-5)
    calibration = Calibration(*calibration_examples(dataset, 32, 0), loss=task.loss)
    scores = taylor_scores(model, trace_channels(model), calibration)
    assert np.isfinite(scores).all()
    assert scores.max() > 0


def test_outputs_of_several_kinds_are_answered_each_in_its_own(tmp_path: Path) -> None:
    def end(h: Any) -> Any:
        flat = layers.Flatten()(h)
        return [layers.Dense(4, name="box")(flat), layers.Dense(3, "softmax", name="kind")(flat)]

    model = network(end, ["mse", "sparse_categorical_crossentropy"])
    task = infer_task(model)
    dataset = answered(data(tmp_path), model, task)
    (x,), (box, kind) = materialize(dataset.validation, None, 0)
    boxes, kinds = model.predict(x, verbose=0)
    np.testing.assert_allclose(box, boxes, rtol=1e-5)
    np.testing.assert_array_equal(kind, kinds.argmax(-1))
    assert [head.measure.read_as.is_agreement for head in task.trained] == [True, True]
    assert task.wording.is_agreement
    assert task.wording.is_error


def test_examples_that_are_read_as_they_come_have_the_same_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network(dense(3, "softmax"))
    whole = data(tmp_path)
    task = infer_task(model)
    known = materialize(answered(whole, model, task).validation, None, 0)
    stream = replace(whole, validation=replace(whole.validation, arrays=None))
    monkeypatch.setattr("pocketkube.training.answers.IN_MEMORY", 0)
    found = answered(stream, model, task).validation
    assert found.arrays is None
    for ours, theirs in zip(materialize(found, None, 0), known, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])


class Share(SingleProcess):
    """One of two workers, who sees of what both find only its own."""

    size = 2

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def total(self, tensor: Any) -> Any:
        return tensor


def test_workers_share_the_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, dataset = network(dense(2), "mse"), data(tmp_path)
    task = infer_task(model)
    whole = answered(dataset, model, task).test.arrays[1][0]
    shares = []
    for rank in range(2):
        monkeypatch.setattr(
            "pocketkube.training.workers.started_workers", lambda rank=rank: Share(rank)
        )
        shares.append(answered(dataset, model, task).test.arrays[1][0])
    assert all((share == 0).all(axis=1).any() for share in shares)
    np.testing.assert_allclose(shares[0] + shares[1], whole, rtol=1e-6)


def test_a_loss_of_labels_is_the_models_own_and_one_of_ones_own_gives_way() -> None:
    def loss_of(task: Task) -> str:
        return str(task.trained[0].loss.name)

    assert loss_of(infer_task(network(dense(2), losses.Huber()))) == "huber_loss"
    assert loss_of(infer_task(network(dense(3, "softmax"), brier))) == "sparse_categorical_crossentropy"


def test_answers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model = network(dense(3))
    model.get_layer("end").bias.assign([np.nan] * 3)
    with pytest.raises(UserError, match=r"no labels, and output end of net is not finite"):
        answered(data(tmp_path), model, infer_task(model))
