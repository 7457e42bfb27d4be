"""Models of several outputs through whole jobs: each output has its own loss, labels and score."""

import json
import re
from html import unescape
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.bundle import load_bundle, load_model
from pocketkube.errors import UserError
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec import parse_spec
from pocketkube.stages.assessment import task_of
from pocketkube.stages.component import metrics_of
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline

LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CLASSES = keras.losses.SparseCategoricalCrossentropy()
STAGES = [{"prune_channels": {"round_to": 1}}, {"fine_tune": {"epochs": 3}}, "quantize_int8"]


@keras.saving.register_keras_serializable("tests_heads")
def mean_fourth_root(y_true, y_pred):
    return keras.ops.mean(keras.ops.sqrt(keras.ops.sqrt(keras.ops.abs(y_true - y_pred) + 1e-4)), -1)


def trained(folder: Path, heads: dict, labels: list[np.ndarray], loss, weights=None) -> dict:
    """Writes a network and its data; a spec of them."""
    digits = load_digits()
    x = (digits.images / 16).astype("float32")[..., None]
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    h = inputs
    for channels in (12, 24):
        h = layers.Conv2D(channels, 3, padding="same", use_bias=False)(h)
        h = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(h))
    h = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(h))
    outputs = [layers.Dense(units, end, name=name)(h) for name, (units, end) in heads.items()]
    model = keras.Model(inputs, outputs, name="net")
    model.compile(keras.optimizers.Adam(1e-2), loss, loss_weights=weights)
    model.fit(x, labels, epochs=6, batch_size=64, verbose=0)
    model.save(folder / "net.keras")
    np.savez(folder / "data.npz", x=x, **{f"y{n}": y for n, y in enumerate(labels)})
    return {
        "model": str(folder / "net.keras"),
        "dataset": {"npz": str(folder / "data.npz")},
        "target": {"speedup": 1.5},
        "stages": STAGES,
        "training": {"batch_size": 64, "learning_rate": 0.002},
        "benchmark": {"runs": 5, "threads": [1]},
    }


def done(spec: dict, folder: Path) -> tuple[dict[str, Path], dict]:
    folders = run_inline(parse_spec(spec), folder / "steps", lambda _: None, cache=folder / "cache")
    return folders, collect(folders, folder).model_dump(mode="json")


def predicted(folder: Path, folders: dict[str, Path]) -> tuple[dict, list[list[np.ndarray]]]:
    """The test examples, and what the Keras models and files before and after give for them."""
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    before = load_model(folders["train_model"] / "model.keras")
    outputs = [before.predict(samples["x0"], verbose=0)]
    for file in ("baseline", "model"):
        runs = list(LiteRTModel(folder / f"{file}.tflite").predict([samples["x0"]]))
        outputs.append([np.concatenate(each) for each in zip(*runs, strict=True)])
    return samples, outputs


def words(folder: Path) -> str:
    page = (folder / "report.html").read_text("utf-8")
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("classes")
    y = load_digits().target
    heads = {"digit": (10, None), "odd": (2, "softmax")}
    spec = trained(folder, heads, [y, y % 2], [LOGITS, CLASSES], [1.0, 0.5])
    return folder, *done(spec, folder)


@pytest.mark.slow
def test_logits_and_probabilities_keep_their_own_losses_through_a_job(classes) -> None:
    folder, folders, result = classes
    samples, (by_keras, *by_files) = predicted(folder, folders)
    labels = [samples["y0"], samples["y1"]]
    trained_facts = load_bundle(folders["train_model"]).facts
    for outputs, found in (
        (by_keras, trained_facts.stages[0].model_dump()),
        (by_files[0], result["before"]),
        (by_files[1], result["after"]),
    ):
        right = [(o.argmax(1) == y).mean() for o, y in zip(outputs, labels, strict=True)]
        assert [head["score"] for head in found["heads"]] == pytest.approx(right)
        assert found["score"] == pytest.approx(np.mean(right))
        assert [head["name"] for head in found["heads"]] == ["digit", "odd"]
    # The chain works with what the model was compiled with.
    assert min(right) > 0.75
    text = words(folder)
    for head in result["after"]["heads"]:
        assert f"{100 * head['score']:.2f} %" in text
        assert f"Accuracy, {head['name']}" in text
        confusion = np.array(head["confusion"])
        assert confusion.shape == ((10, 10) if head["name"] == "digit" else (2, 2))
        assert np.trace(confusion) / confusion.sum() == pytest.approx(head["score"])


@pytest.mark.slow
@pytest.mark.parametrize("step", ["train_model", "1_prune_channels", "2_fine_tune"])
def test_every_bundle_holds_the_losses_and_their_weights(classes, step: str) -> None:
    _, folders, _ = classes
    bundle = load_bundle(folders[step])
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    x, labels = samples["x0"], [samples["y0"], samples["y1"]]
    task = task_of(bundle.facts)
    assert [head.weight for head in task.heads] == [1.0, 0.5]
    outputs = bundle.model(x)
    wanted = float(bundle.model.compute_loss(x, labels, outputs))
    assert float(np.mean(task.loss(labels, outputs))) == pytest.approx(wanted, rel=1e-5)
    names = {f"{name}_accuracy" for name in ("digit", "odd")}
    assert names <= set(metrics_of(str(folders[step])))


@pytest.mark.slow
def test_classes_beside_values_beside_an_output_without_a_loss(tmp_path: Path) -> None:
    digits = load_digits()
    ink = digits.images.mean((1, 2))[:, None].astype("float32")
    heads = {"digit": (10, None), "ink": (1, None), "spare": (3, "tanh")}
    labels = [digits.target, ink, np.zeros((len(ink), 3), "float32")]
    spec = trained(tmp_path, heads, labels, [LOGITS, mean_fourth_root, None], [1.0, 0.3, None])
    folders, result = done(spec, tmp_path)
    samples, (by_keras, *by_files) = predicted(tmp_path, folders)
    facts = load_bundle(folders["2_fine_tune"]).facts
    assert facts.task.score_name == "negative_loss"
    stage = facts.stages[0]
    loss = float(
        load_model(folders["train_model"] / "model.keras").compute_loss(
            samples["x0"], [samples[f"y{n}"] for n in range(3)], [keras.ops.array(o) for o in by_keras]
        )
    )
    assert stage.score == pytest.approx(-loss, rel=1e-4)
    for outputs, found in zip(by_files, (result["before"], result["after"]), strict=True):
        # Accuracy and an error have no mean: a file's outputs are scored each by itself.
        assert found["score"] is None
        right = (outputs[0].argmax(1) == samples["y0"]).mean()
        error = np.abs(outputs[1] - samples["y1"]).mean()
        assert [head["score"] for head in found["heads"]] == pytest.approx([right, -error], rel=1e-5)
        assert [head["name"] for head in found["heads"]] == ["digit", "ink"]
    assert found["heads"][1]["mae"] == pytest.approx(error, rel=1e-5)
    text = words(tmp_path)
    assert f"Mean absolute error, ink {np.abs(by_files[0][1] - samples['y1']).mean():.4g}" in text
    assert "ink: mean fourth root, times 0.3" in text
    assert "spare: no loss, so that it is neither trained nor scored" in text
    assert json.loads((tmp_path / "result.json").read_text())["task"] == facts.task.model_dump(
        mode="json"
    )
    unreachable = spec | {"target": {"max_accuracy_drop": 0.01}}
    with pytest.raises(
        UserError, match=r"no score in common, but each its own \(digit: accuracy, ink: "
    ):
        done(unreachable, tmp_path)
