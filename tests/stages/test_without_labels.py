"""Whole jobs on inputs alone, and on no data: agreement is what NumPy counts of both files' outputs."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.pruning.criteria import BUILT_IN
from pocketkube.spec import parse_spec
from pocketkube.spec.sections.prune_channels import DATA_FREE
from tests.stages.test_labels import STAGES, X, Y, detector, done, outputs_of, spec_of, whole, words


@pytest.fixture(scope="module")
def net() -> keras.Model:
    """A classifier of two classes, which has seen labels that no job here sees."""
    keras.utils.set_random_seed(0)
    model = whole(2, "softmax")
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y["bright"].astype(int), epochs=6, batch_size=32, verbose=0)
    return model


def test_a_job_without_labels_agrees_as_numpy_counts(net: keras.Model, tmp_path: Path) -> None:
    stages = [
        {"distill_model": {"student": str(tmp_path / "net.keras"), "epochs": 1}},
        {"prune_channels": {"criterion": "taylor", "round_to": 1}},
        {"sparsify_weights": {"sparsity": 0.3, "epochs": 1}},
        {"fine_tune": {"epochs": 2}},
        {"quantize_weights": {"epochs": 1}},
    ]
    training = {"batch_size": 32, "learning_rate": 0.01, "epochs": 4}
    spec = spec_of(
        tmp_path,
        net,
        {},
        stages=stages,
        training=training | {"augmentation": {"shift": 1, "cutout": 2}},
        search={"over": ["prune_channels"], "trials": 2, "evaluate": {"fine_tune_steps": 4}},
    )
    folders, result = done(spec, tmp_path)
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    x = samples["x0"]
    by_keras = net.predict(x, verbose=0).argmax(-1)
    np.testing.assert_array_equal(samples["y0"], by_keras)
    for file, side in (("baseline", "before"), ("model", "after")):
        (found,) = outputs_of(tmp_path / f"{file}.tflite", x)
        agreement = float((found.argmax(-1) == by_keras).mean())
        assert result[side]["score"] == pytest.approx(agreement)
        assert result[side]["heads"][0]["confusion"] is None
    assert result["before"]["score"] == 1
    assert result["after"]["score"] > 0.8
    assert result["task"]["score_name"] == "agreement_with_original"
    assert result["search"]["score_name"] == "agreement_with_original"
    tuned = load_bundle(folders["4_fine_tune"])
    agreement = (tuned.model.predict(x, verbose=0).argmax(-1) == by_keras).mean()
    assert tuned.facts.made.score == pytest.approx(agreement)
    # Nothing is shown as if it were known how right the model is.
    page = words(tmp_path)
    assert "agreement with the original" in page
    assert "The data have no labels" in page
    assert "accuracy" not in page.lower()
    assert "accuracy" not in json.dumps(result).lower()


@pytest.mark.slow
def test_boxes_and_classes_are_agreed_with_each_in_its_own(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = detector()
    of_anchors = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.Adam(1e-2), [keras.losses.Huber(0.1), of_anchors, "binary_crossentropy"]
    )
    labels = [Y["box"], Y["anchors"], Y["bright"].astype("float32")]
    model.fit(X, labels, epochs=6, batch_size=32, verbose=0)
    folders, result = done(spec_of(tmp_path, model, {}, stages=STAGES), tmp_path)
    samples = dict(np.load(folders["baseline"] / "samples.npz"))
    theirs = model.predict(samples["x0"], verbose=0)
    ours = outputs_of(tmp_path / "model.tflite", samples["x0"])
    wanted = [
        -np.abs(ours[0] - theirs[0]).mean(),
        (ours[1].argmax(-1) == theirs[1].argmax(-1)).mean(),
        ((ours[2] > 0.5) == (theirs[2] > 0.5)).mean(),
    ]
    found = [head["score"] for head in result["after"]["heads"]]
    assert found == pytest.approx(wanted, rel=1e-3)
    assert result["task"]["score_name"] == "negative_loss_with_original"


def test_a_job_without_data_says_that_nothing_was_measured(net: keras.Model, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, net, {}, stages=["prune_channels", "quantize_dynamic"])
    del spec["dataset"]
    _, result = done(spec, tmp_path)
    assert result["spec"]["stages"][0] == {"prune_channels": {"criterion": "l2"}}
    assert result["speedup"] > 1.4
    assert result["after"]["format"] == "dynamic"
    assert result["before"]["score"] is result["after"]["score"] is result["agreement"] is None
    assert all(stage["score"] is None for stage in result["stages"])
    page = words(tmp_path)
    assert "There were no data" in page
    assert "not measured" in page
    assert "random inputs, which say little of real ones" in page
    (outputs,) = outputs_of(tmp_path / "model.tflite", X[:4])
    assert np.isfinite(outputs).all()


def test_clusters_of_weights_alone_need_no_data(net: keras.Model, tmp_path: Path) -> None:
    spec = spec_of(tmp_path, net, {}, stages=[{"cluster_weights": {"bits": 2, "epochs": 0}}])
    del spec["dataset"], spec["target"]
    folders, result = done(spec, tmp_path)
    model = load_bundle(folders["1_cluster_weights"]).model
    kernels = [w.numpy() for w in model.trainable_weights if len(w.shape) > 1]
    assert all(len(np.unique(kernel)) <= 4 for kernel in kernels)
    assert result["after"]["score"] is None
    assert result["stages"][1]["weight_bits"] == [2]
    assert result["after"]["model_bytes"] < result["before"]["model_bytes"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"stages": [{"cluster_weights": {"bits": 2}}]}, "cluster_weights needs examples; without any"),
        ({"model": "resnet20"}, "dataset: is missing, and resnet20 is trained from scratch"),
        ({"stages": ["fine_tune"]}, "fine_tune needs examples; without any, prune_channels by l1"),
        ({"stages": ["quantize_int8"]}, "quantize_int8 needs examples.*quantize_dynamic"),
        (
            {"stages": [{"prune_channels": {"criterion": "taylor"}}]},
            "criterion taylor looks at examples; without any, use l1, l2, bn_scale or fpgm",
        ),
        ({"stages": [{"prune_channels": {"group_size": 2}}]}, "group_size trains between groups"),
        ({"target": {"max_accuracy_drop": 0.1}}, "max_accuracy_drop is judged by examples"),
        ({"search": {"over": ["prune_channels"], "trials": 2}}, "search judges trials by examples"),
    ],
)
def test_what_needs_data_is_refused_when_the_spec_is_read(changes: dict[str, Any], said: str) -> None:
    spec = {"model": "net.keras", "target": {"speedup": 2}, "stages": ["prune_channels"]} | changes
    if spec["stages"] != ["prune_channels"] and "prune_channels" not in spec["stages"][0]:
        del spec["target"]
    with pytest.raises(UserError, match=said):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "lenet"}, "model: lenet is trained from scratch by labels, of which .* has none"),
        ({"training": {"class_weights": "balanced"}}, "training: class_weights is for labels"),
        ({"training": {"label_smoothing": 0.1}}, "label_smoothing is for labels"),
        ({"distillation": {"weight": 0.0}}, "weight is 0, and .* has no labels"),
    ],
)
def test_what_needs_labels_is_refused_before_anything_is_trained(
    changes: dict[str, Any], said: str, net: keras.Model, tmp_path: Path
) -> None:
    spec = spec_of(tmp_path, net, {}, stages=["prune_channels", "fine_tune"]) | changes
    with pytest.raises(UserError, match=said):
        done(spec, tmp_path)


def test_the_criteria_that_need_no_data_are_those_that_specs_name() -> None:
    assert {*DATA_FREE} == {name for name, each in BUILT_IN.items() if not each.needs_data}
