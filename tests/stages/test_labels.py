"""Labels of all kinds through whole jobs: their scores are what Keras's metrics give."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, losses, metrics

from pocketkube.benchmarking.samples import Samples
from pocketkube.benchmarking.score import score_file
from pocketkube.bundle import load_bundle
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec import parse_spec
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline

COUNT, SIDE, BACKGROUND, VOID = 160, 12, 0, 255
STAGES = [
    {"prune_channels": {"criterion": "taylor", "round_to": 1}},
    {"sparsify_weights": {"sparsity": 0.3, "epochs": 1}},
    {"fine_tune": {"epochs": 2}},
    {"quantize_int8": {"min_agreement": 0.5}},
]
Labels = dict[str, np.ndarray]


def shapes(seed: int = 0) -> tuple[np.ndarray, Labels]:
    """Noisy images of a bright square and a dark one on grey, and what is where."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((COUNT, SIDE, SIDE), np.int64)
    corners = rng.integers(0, SIDE - 5, (COUNT, 2, 2))
    there = rng.random((COUNT, 2)) < 0.7
    for example, (places, shown) in enumerate(zip(corners, there, strict=True)):
        for number, ((row, column), is_shown) in enumerate(zip(places, shown, strict=True), start=1):
            if is_shown:
                maps[example, row : row + 5, column : column + 5] = number
    x = np.array([0.5, 1.0, 0.0])[maps] + rng.normal(0, 0.05, maps.shape)
    tags = np.stack([(maps == number).any((1, 2)) for number in (1, 2)], axis=1)
    labels = {
        "maps": maps,
        "tags": tags,
        "box": corners[:, 0] / SIDE,
        "bright": tags[:, 0],
        "anchors": maps[:, ::6, ::6].reshape(COUNT, -1),
    }
    return x[..., None].astype("float32"), labels


X, Y = shapes()


def with_edges(maps: np.ndarray) -> np.ndarray:
    """The labels at the left edge are unknown."""
    marked = maps.astype("uint8")
    marked[:, :, 0] = VOID
    return marked


def pixels(units: int, activation: str | None) -> keras.Model:
    """A small U-Net."""
    x = keras.Input((SIDE, SIDE, 1))
    fine = conv(x, 8)
    coarse = conv(layers.MaxPooling2D()(fine), 12)
    joined = layers.Concatenate()([fine, layers.UpSampling2D()(coarse)])
    h = conv(joined, 8)
    return keras.Model(x, layers.Conv2D(units, 1, activation=activation)(h), name="net")


def whole(units: int, activation: str | None) -> keras.Model:
    x = keras.Input((SIDE, SIDE, 1))
    h = body(x)
    return keras.Model(x, layers.Dense(units, activation=activation)(h), name="net")


def detector() -> keras.Model:
    """A box, a class for each of four anchors, and whether there is anything bright."""
    x = keras.Input((SIDE, SIDE, 1))
    h = body(x)
    box = layers.Dense(2, name="box")(h)
    anchors = layers.Reshape((4, 3), name="anchors")(layers.Dense(12)(h))
    return keras.Model(x, [box, anchors, layers.Dense(1, "sigmoid", name="bright")(h)], name="net")


def body(x: Any) -> Any:
    h = layers.MaxPooling2D()(conv(x, 8))
    return layers.Flatten()(layers.MaxPooling2D()(conv(h, 12)))


def conv(x: Any, channels: int) -> Any:
    h = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization(momentum=0.8)(h))


def mean_iou(y: np.ndarray, z: np.ndarray, classes: int = 3, ignore: int | None = None) -> float:
    metric = metrics.MeanIoU(classes, ignore_class=ignore)
    metric.update_state(y, z)
    return float(metric.result())


def iou_of_classes(y: np.ndarray, z: np.ndarray) -> float:
    return mean_iou(y, z.argmax(-1))


def iou_of_rows(y: np.ndarray, z: np.ndarray) -> float:
    return mean_iou(y.argmax(-1), z.argmax(-1))


def iou_of_known(y: np.ndarray, z: np.ndarray) -> float:
    known = y != VOID
    return mean_iou(y[known], z.argmax(-1)[known])


def iou_of_masks(y: np.ndarray, z: np.ndarray) -> float:
    metric = metrics.OneHotMeanIoU(2)
    rows = np.eye(2)
    metric.update_state(rows[y.reshape(-1).astype(int)], rows[(z > 0.5).reshape(-1).astype(int)])
    return float(metric.result())


def iou_of_logits(y: np.ndarray, z: np.ndarray) -> float:
    return iou_of_masks(y, 1 / (1 + np.exp(-z)))


def f1(y: np.ndarray, z: np.ndarray) -> float:
    metric = metrics.F1Score(average="macro", threshold=0.5)
    metric.update_state(y.astype("float32"), z)
    return float(metric.result())


def accuracy_of_two(y: np.ndarray, z: np.ndarray) -> float:
    metric = metrics.BinaryAccuracy()
    metric.update_state(y.reshape(z.shape), z)
    return float(metric.result())


@dataclass(frozen=True)
class Case:
    build: Callable[[], keras.Model]
    labels: np.ndarray
    score_name: str
    score: Callable[[np.ndarray, np.ndarray], float]
    loss: Any = None
    task: Any = None


SPARSE = "sparse_categorical_crossentropy"
CASES = {
    "a class a pixel": Case(
        lambda: pixels(3, "softmax"), Y["maps"].astype("uint8"), "mean_iou", iou_of_classes, SPARSE
    ),
    "a class a pixel, not compiled": Case(
        lambda: pixels(3, None),
        Y["maps"][..., None],
        "mean_iou",
        lambda y, z: iou_of_classes(y[..., 0], z),
    ),
    "a row a pixel": Case(
        lambda: pixels(3, "softmax"),
        np.eye(3)[Y["maps"]],
        "mean_iou",
        iou_of_rows,
        "categorical_crossentropy",
    ),
    "a label that does not count, by the loss": Case(
        lambda: pixels(3, None),
        with_edges(Y["maps"]),
        "mean_iou",
        iou_of_known,
        losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=VOID),
    ),
    "a label that does not count, by the spec": Case(
        lambda: pixels(3, "softmax"),
        with_edges(Y["maps"]),
        "mean_iou",
        iou_of_known,
        task={"segmentation": {"ignore_class": VOID}},
    ),
    "masks": Case(
        lambda: pixels(1, "sigmoid"),
        (Y["maps"] > 0)[..., None].astype("float32"),
        "mean_iou",
        iou_of_masks,
        "binary_crossentropy",
    ),
    "masks without a last axis, not compiled": Case(
        lambda: pixels(1, None), Y["maps"] > 0, "mean_iou", iou_of_logits
    ),
    "several labels": Case(
        lambda: whole(2, "sigmoid"), Y["tags"].astype("float32"), "macro_f1", f1, "binary_crossentropy"
    ),
    "several labels, integers, not compiled": Case(
        lambda: whole(2, "sigmoid"), Y["tags"].astype(int), "macro_f1", f1
    ),
    "two classes in floats": Case(
        lambda: whole(1, "sigmoid"),
        Y["bright"].astype("float32"),
        "accuracy",
        accuracy_of_two,
        "binary_crossentropy",
    ),
    "two classes in floats, not compiled": Case(
        lambda: whole(1, "sigmoid"), Y["bright"][:, None].astype("float64"), "accuracy", accuracy_of_two
    ),
    "flags": Case(lambda: whole(1, "sigmoid"), Y["bright"], "accuracy", accuracy_of_two),
    "a row an example": Case(
        lambda: whole(2, "softmax"),
        np.eye(2)[Y["bright"].astype(int)],
        "accuracy",
        lambda y, z: float((y.argmax(-1) == z.argmax(-1)).mean()),
        "categorical_crossentropy",
    ),
    "integers that are values": Case(
        lambda: whole(1, None),
        Y["maps"].max((1, 2)) * 3 - 4,
        "negative_mae",
        lambda y, z: -float(np.abs(y.reshape(z.shape) - z).mean()),
        "mse",
    ),
}
BARE = ("a class a pixel", "a row a pixel", "masks", "several labels", "a row an example")
QUICK = ("a label that does not count, by the loss",)


def spec_of(folder: Path, model: keras.Model, labels: Labels, **changes: Any) -> dict:
    """Writes a network and its data; a spec of them."""
    model.save(folder / "net.keras")
    np.savez(folder / "data.npz", x=X, **labels)
    return {
        "model": str(folder / "net.keras"),
        "dataset": {"npz": str(folder / "data.npz")},
        "target": {"speedup": 1.5},
        "stages": STAGES,
        "training": {"batch_size": 32, "learning_rate": 0.01, "epochs": 4},
        "benchmark": {"runs": 5, "threads": [1]},
    } | changes


def trained(case: Case) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = case.build()
    if case.loss is None:
        return model
    model.compile(keras.optimizers.Adam(1e-2), case.loss)
    model.fit(X, case.labels, epochs=6, batch_size=32, verbose=0)
    return model


def done(spec: dict, folder: Path) -> tuple[dict[str, Path], dict]:
    folders = run_inline(parse_spec(spec), folder / "steps", lambda _: None)
    return folders, collect(folders, folder).model_dump(mode="json")


def outputs_of(file: Path, x: np.ndarray) -> list[np.ndarray]:
    runs = [[each.copy() for each in run] for run in LiteRTModel(file).predict([x])]
    return [np.concatenate(each) for each in zip(*runs, strict=True)]


def words(folder: Path) -> str:
    page = (folder / "report.html").read_text("utf-8")
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_labels_go_through_a_whole_job(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    changes = {"task": case.task} if case.task else {}
    spec = spec_of(tmp_path, trained(case), {"y": case.labels}, **changes)
    folders, result = done(spec, tmp_path)
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    assert result["task"]["score_name"] == case.score_name
    for file, side in (("baseline", "before"), ("model", "after")):
        (found,) = outputs_of(tmp_path / f"{file}.tflite", samples["x0"])
        wanted = case.score(samples["y0"], found)
        assert result[side]["score"] == pytest.approx(wanted, rel=1e-4)
        if case.score_name == "mean_iou":
            (also,) = result[side]["heads"][0]["also"]
            assert also[0] == "pixel accuracy"
            assert f"{100 * also[1]:.2f} %" in words(tmp_path)
            assert "pixels of all examples together" in words(tmp_path)
    # The last stage's model, judged in TensorFlow, is what Keras's metrics say of its outputs.
    bundle = load_bundle(folders["3_fine_tune"])
    by_keras = bundle.model.predict(samples["x0"], verbose=0)
    assert bundle.facts.made.score == pytest.approx(case.score(samples["y0"], by_keras), rel=1e-4)
    # The chain works with what the labels say: far more than nothing is found.
    if case.loss is not None and case.score_name != "negative_mae":
        assert result["after"]["score"] > 0.6
    if name in BARE:
        # Where only examples are known, labels and outputs tell the same.
        bare = Samples("bare", (samples["x0"],), (samples["y0"].astype(case.labels.dtype),))
        judged = score_file(LiteRTModel(tmp_path / "model.tflite"), bare).judged
        assert judged.score == pytest.approx(result["after"]["score"])


@pytest.mark.slow
def test_boxes_and_classes_are_heads_of_their_kinds(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = detector()
    labels = [Y["box"], Y["anchors"], Y["bright"].astype("float32")]
    of_anchors = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), [losses.Huber(0.1), of_anchors, "binary_crossentropy"])
    model.fit(X, labels, epochs=6, batch_size=32, verbose=0)
    named = {f"y{number}": y for number, y in enumerate(labels)} | {"sample_weight": np.ones(COUNT)}
    student = str(tmp_path / "student.keras")
    model.save(student)
    spec = spec_of(tmp_path, model, named, stages=[{"distill_model": {"student": student}}, *STAGES])
    folders, result = done(spec, tmp_path)
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    kinds = [head["kind"] for head in result["task"]["heads"]]
    assert kinds == ["regression", "classification", "classification"]
    for file, side in (("baseline", "before"), ("model", "after")):
        box, anchors, bright = outputs_of(tmp_path / f"{file}.tflite", samples["x0"])
        wanted = [
            -np.abs(box - samples["y0"]).mean(),
            (anchors.argmax(-1) == samples["y1"]).mean(),
            accuracy_of_two(samples["y2"], bright),
        ]
        assert [head["score"] for head in result[side]["heads"]] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a row a pixel", "several labels"])
def test_a_search_is_rewarded_by_the_score_of_all_examples(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    over = ["prune_channels"]
    search = {"over": over, "sampler": "random", "trials": 2, "evaluate": {"examples": 20}}
    spec = spec_of(tmp_path, trained(case), {"y": case.labels}, search=search, stages=over)
    _, result = done(spec, tmp_path)
    assert result["search"]["score_name"] == case.score_name
    assert 0 < result["search"]["whole_score"] <= 1
