"""Landmark regression from a model of one's own to an int8 file: no method assumes classes."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.measures import Points
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import DatasetSettings, Training
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline
from pocketkube.training.loop import train
from pocketkube.training.task import landmark_task
from tests.landmarks import EYES, draw_faces

COURSE = {"epochs": 20, "batch_size": 64, "learning_rate": 0.01}
CHAINS = {
    "taylor": [
        {"prune_channels": {"criterion": "taylor"}},
        {"sparsify_weights": {"sparsity": 0.5, "epochs": 6}},
        {"fine_tune": {"epochs": 8}},
        "quantize_int8",
    ],
    "lasso": [
        {"distill_model": {"student": "STUDENT"}},
        {"prune_channels": {"criterion": "lasso"}},
        {"sparsify_weights": {"sparsity": 0.5, "epochs": 8}},
        {"quantize_weights": {"epochs": 4}},
    ],
}


def net(units: int = 10, activation: str | None = None, width: float = 1.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 1))
    for channels in (16, 32, 64):
        x = layers.Conv2D(int(width * channels), 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(64, use_bias=False)(layers.Flatten()(x))
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(image, layers.Dense(units, activation=activation)(x), name="finder")


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    images, points = draw_faces(5000, seed=0)
    np.savez(folder / "faces.npz", x=images, y=points)
    return folder


@pytest.fixture(scope="module")
def trained(faces: Path) -> Path:
    model = net()
    dataset = load_dataset(DatasetSettings(npz=str(faces / "faces.npz")))
    task = landmark_task(model, Points(EYES))
    train(model, dataset, task, Training(**COURSE), seed=0)
    model.save(faces / "finder.keras")
    return faces / "finder.keras"


def job(folder: Path, model: Path, **changes) -> dict:
    spec = {
        "model": str(model),
        "dataset": {"npz": str(folder / "faces.npz")},
        "task": {"landmarks": {"normalize_by": list(EYES)}},
        "stages": [],
        "training": COURSE,
        "benchmark": {"runs": 5, "threads": [1]},
    }
    return spec | changes


@pytest.mark.slow
@pytest.mark.parametrize("stages", CHAINS.values(), ids=CHAINS)
def test_landmarks_are_found_after_all_methods(
    faces: Path, trained: Path, tmp_path: Path, stages: list
) -> None:
    target = {"speedup": 2, "max_accuracy_drop": 0.02}
    # The student is narrower, and knows nothing yet.
    net(width=0.75).save(tmp_path / "student.keras")
    if "distill_model" in stages[0]:
        settings = stages[0]["distill_model"] | {"student": str(tmp_path / "student.keras")}
        stages = [{"distill_model": settings}, *stages[1:]]
    spec = parse_spec(job(faces, trained, stages=stages, target=target))
    folders = run_inline(spec, tmp_path / "steps", lambda _: None)
    result = collect(folders, tmp_path).model_dump(mode="json")
    before, after = result["before"], result["after"]
    samples = np.load(folders["result"] / "samples.npz")
    points = samples["y0"]

    blind = nme(points, np.broadcast_to(points.mean(axis=0), points.shape))
    assert before["nme"] < blind / 3
    assert after["nme"] < before["nme"] + 0.02
    assert after["nme"] == -after["score"]
    found = np.concatenate(
        [y for (y,) in LiteRTModel(tmp_path / "model.tflite").predict([samples["x0"]])]
    )
    assert after["nme"] == pytest.approx(nme(points, found.reshape(points.shape)), rel=1e-5)

    assert after["format"] == "int8"
    assert result["speedup"] >= 2
    assert result["task"]["score_name"] == "negative_nme"
    over = "the distance of points 0 and 1"
    assert result["task"]["description"] == f"smooth L1 of the landmarks' errors over {over}"
    (head,) = result["task"]["heads"]
    assert (head["kind"], head["normalize_by"]) == ("landmarks", [0, 1])
    rise = next(target for target in result["targets"] if target["name"] == "max_accuracy_drop")
    assert rise["reached"] == pytest.approx(after["nme"] - before["nme"])
    assert rise["met"]
    # Units stay on the line of their figures.
    page = (tmp_path / "report.html").read_text().replace("\u00a0", " ")
    for told in (f"{before['nme'] * 100:.2f} %", f"{after['nme'] * 100:.2f} %", "points of NME"):
        assert told in page
    assert "points of accuracy" not in page


def nme(points: np.ndarray, found: np.ndarray) -> float:
    between_eyes = np.linalg.norm(points[:, EYES[0]] - points[:, EYES[1]], axis=-1)
    return float((np.linalg.norm(points - found, axis=-1).mean(axis=-1) / between_eyes).mean())


def wrong(folder: Path, labels: np.ndarray, model: keras.Model, **changes) -> str:
    """What a job with these labels says before anything is trained."""
    images = np.zeros((len(labels), 32, 32, 1), "float32")
    np.savez(folder / "faces.npz", x=images, y=labels)
    model.save(folder / "net.keras")
    spec = parse_spec(job(folder, folder / "net.keras", **changes))
    with pytest.raises(UserError) as caught:
        run_inline(spec, folder / "steps", lambda _: None)
    assert list(folder.glob("steps/*")) == []
    return str(caught.value)


def test_what_cannot_be_landmarks_is_refused(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(size=(40, 5, 2)).astype("float32")
    plain, softmax = net(), net(activation="softmax")
    assert "finder ends in a softmax" in wrong(tmp_path, points, softmax)
    compiled = net(6)
    compiled.compile(loss="categorical_crossentropy")
    assert "finder is compiled with a cross-entropy" in wrong(tmp_path, points, compiled)
    assert "5 landmarks, which are 10 numbers an example, but finder gives (6,)" in wrong(
        tmp_path, points, net(6)
    )
    assert "class numbers" in wrong(tmp_path, np.arange(40) % 10, plain)
    assert "cannot be points" in wrong(tmp_path, points[:, :, 0], plain)
    beyond = {"landmarks": {"normalize_by": [0, 5]}}
    assert "[0, 5] names a point beyond the 5" in wrong(tmp_path, points, plain, task=beyond)
    points[7, 1] = points[7, 0]
    assert "from point 0 to point 1 has no length in 1 of" in wrong(tmp_path, points, plain)
    digits = parse_spec(job(tmp_path, Path("lenet")) | {"dataset": "digits"})
    with pytest.raises(UserError, match="the labels of digits are class numbers"):
        run_inline(digits, tmp_path / "steps", lambda _: None)
