"""A network keeps its structure, and each layer its name, from the file that is given to the report.

The network has what renames: a nested model that is called twice, a sequential one, wrappers, a
layer that becomes two, BatchNorm that is folded, and inputs and outputs in dicts.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from sklearn.datasets import load_digits

from pocketkube.bundle import load_bundle
from pocketkube.deploy import convert_litert
from pocketkube.graph.cost import profile_model
from pocketkube.packing import load_packed
from pocketkube.spec import parse_spec
from pocketkube.stages.outputs import collect
from pocketkube.stages.whole_job import run_inline
from pocketkube.structure import arranged

# Names that are out of order, and outputs that are called otherwise than their layers.
INPUTS, OUTPUTS = ("z_image", "a_image"), {"same": "digit", "first": "other"}
SHARED = {
    "encoder/one": "Conv2D",
    "encoder/one_norm": "BatchNormalization",
    "encoder/sep": "SeparableConv2D",
    "encoder/last": "Conv2D",
}
LAYERS = SHARED | {
    "after": "BatchNormalization",
    "spectral": "SpectralNormalization",
    "tail/mix": "Conv2D",
    "tail/mix_norm": "BatchNormalization",
    "steps": "TimeDistributed",
    "digit": "Dense",
    "other": "Dense",
}
STAGES = [
    {"prune_channels": {"criterion": "l1", "ratios": {"encoder/one": 0.25}, "round_to": 1}},
    {"fine_tune": {"epochs": 1}},
    {"quantize_weights": {"epochs": 1, "layers": {"encoder/sep": 6, "spectral/inner": 5}}},
    {"quantize_int8": {"min_agreement": 0.8}},
]


def network() -> keras.Model:
    inner = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="one")(inner)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9, name="one_norm")(x))
    x = layers.SeparableConv2D(12, 3, padding="same", activation="relu", name="sep")(x)
    x = layers.Conv2D(12, 3, strides=2, padding="same", name="last")(x)
    encoder = keras.Model(inner, x, name="encoder")
    one, other = (keras.Input((8, 8, 1), name=name) for name in INPUTS)
    # What is read in two ways, and a pooling whose output is to be rounded like its input.
    both = [layers.ReLU(name="rectified")(encoder(one))]
    both.append(layers.AveragePooling2D(2, 1, "same", name="pooled")(encoder(other)))
    x = layers.BatchNormalization(momentum=0.9, name="after")(layers.Concatenate()(both))
    conv = layers.Conv2D(16, 3, activation="relu", name="inner")
    x = layers.SpectralNormalization(conv, name="spectral")(x)
    tail = [layers.Conv2D(16, 1, name="mix"), layers.BatchNormalization(momentum=0.9, name="mix_norm")]
    tail += [layers.Activation("relu"), layers.Reshape((4, 16))]
    x = keras.Sequential([keras.Input(x.shape[1:]), *tail], name="tail")(x)
    dense = layers.Dense(12, activation="relu", name="each")
    x = layers.Flatten()(layers.TimeDistributed(dense, name="steps")(x))
    outputs = {
        key: layers.Dense(10, activation="softmax", name=name)(x) for key, name in OUTPUTS.items()
    }
    return keras.Model(dict(zip(INPUTS, (one, other), strict=True)), outputs, name="twins")


@dataclass(frozen=True)
class Job:
    """What a job has made, and the examples to ask its models about, by the names of inputs."""

    folder: Path
    steps: dict[str, Path]
    result: dict[str, Any]
    examples: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("names")
    digits = load_digits()
    x = (digits.images / 16).astype("float32")[:400, ..., None]
    y = digits.target[:400].astype("int64")
    mixed = np.random.default_rng(0).permutation(len(x))
    examples = dict(zip(INPUTS, (x, x[mixed]), strict=True))
    keras.utils.set_random_seed(0)
    model = network()
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(examples, {"same": y, "first": y[mixed]}, epochs=4, batch_size=32, verbose=0)
    model.save(folder / "net.keras")
    # In the alphabetical order of the names, as Keras has them.
    np.savez(folder / "data.npz", x0=examples["a_image"], x1=examples["z_image"], y0=y[mixed], y1=y)
    spec = {
        "model": str(folder / "net.keras"),
        "dataset": {"npz": str(folder / "data.npz")},
        "stages": STAGES,
        "training": {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3},
        "distillation": {"features_weight": 0.1, "layers": {"encoder/sep": "encoder/sep"}},
        "benchmark": {"runs": 5, "threads": [1]},
    }
    steps = run_inline(parse_spec(spec), folder / "steps", lambda line: None)
    return Job(
        folder,
        steps,
        collect(steps, folder).model_dump(mode="json"),
        {name: x[:50] for name, x in examples.items()},
    )


@pytest.mark.slow
def test_every_layer_of_the_first_model_is_in_the_report(job: Job) -> None:
    rows = {row["name"]: row for row in job.result["layers"]}
    assert {name: row["kind"] for name, row in rows.items()} == LAYERS
    folded = {name: row["folded_into"] for name, row in rows.items() if row["folded_into"]}
    assert folded == {"encoder/one_norm": "encoder/one", "tail/mix_norm": "tail/mix"}
    assert all(rows[name]["parameters_after"] == 0 for name in folded)
    assert all(row["parameters_after"] > 0 for name, row in rows.items() if name not in folded)
    page = (job.folder / "report.html").read_text()
    assert all(name in page for name in LAYERS if rows[name]["macs_before"])
    assert "2 BatchNormalization layers are folded" in page
    # Counted from the shapes: two kernels of the separable convolution, and one bias.
    sep = rows["encoder/sep"]
    into, out = rows["encoder/one"]["channels_after"], sep["channels_after"]
    assert sep["parameters_after"] == 9 * into + into * out + out


@pytest.mark.slow
def test_facts_of_all_stages_name_the_same_layers(job: Job) -> None:
    for step in ("train_model", "1_prune_channels", "2_fine_tune", "3_quantize_weights"):
        bundle = load_bundle(job.steps[step])
        # A layer itself, or what it is made of by then.
        named = [f"{layer.name}/" for layer in bundle.facts.profile.layers]
        gone = {x for x in LAYERS if not any(name.startswith(f"{x}/") for name in named)}
        assert gone == set(bundle.facts.folded)
    assert load_bundle(job.steps["1_prune_channels"]).facts.kept["encoder/one"] == (6, 8)
    forms = load_bundle(job.steps["3_quantize_weights"]).forms
    bits = {name: form.bits for name, form in forms.items()}
    assert bits["encoder/sep/depthwise/kernel"] == bits["encoder/sep/pointwise/kernel"] == 6
    assert (bits["spectral/inner/kernel"], bits["steps/each/kernel"]) == (5, 8)


@pytest.mark.slow
def test_the_packed_file_gives_the_same_model_back(job: Job) -> None:
    packed, model = (
        load_packed(job.folder / "model.packed"),
        load_bundle(job.steps["3_quantize_weights"]).model,
    )
    assert [x.name for x in profile_model(packed).layers] == [
        x.name for x in profile_model(model).layers
    ]
    wanted, found = (each.predict(job.examples, verbose=0) for each in (model, packed))
    assert all(np.array_equal(wanted[key], found[key]) for key in OUTPUTS)


@pytest.mark.slow
def test_every_stage_keeps_the_inputs_and_outputs(job: Job) -> None:
    first = keras.saving.load_model(job.folder / "net.keras").predict(job.examples, verbose=0)
    for step in ("train_model", "1_prune_channels", "2_fine_tune", "3_quantize_weights"):
        model = keras.saving.load_model(job.steps[step] / "model.keras")
        given = model.predict(job.examples, verbose=0)
        assert set(given) == set(OUTPUTS)
        if step == "train_model":
            assert all(np.array_equal(given[key], first[key]) for key in OUTPUTS)
        # What has changed places would agree by chance alone.
        agree = [np.mean(given[key].argmax(1) == first[key].argmax(1)) for key in OUTPUTS]
        assert min(agree) > 0.6, (step, agree)


@pytest.mark.slow
def test_the_file_is_called_by_the_names_of_inputs_and_outputs(job: Job) -> None:
    model = keras.saving.load_model(job.folder / "model.keras")
    wanted = model.predict(job.examples, verbose=0)
    found = by_signature(job.folder / "model.tflite", job.examples)
    assert set(found) == set(OUTPUTS)
    for key in OUTPUTS:
        # Rounding may differ by some steps of 1/256.
        assert np.abs(found[key] - wanted[key]).max() < 0.1
        assert np.mean(found[key].argmax(1) == wanted[key].argmax(1)) > 0.9
    names = json.loads((job.steps["baseline"] / "bundle.json").read_text())["format"]
    assert names == "float32"
    first = keras.saving.load_model(job.folder / "net.keras").predict(job.examples, verbose=0)
    baseline = by_signature(job.folder / "baseline.tflite", job.examples)
    for key in OUTPUTS:
        np.testing.assert_allclose(baseline[key], first[key], atol=1e-5)


def by_signature(file: Path | bytes, examples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What LiteRT's own signature runner gives, one example after the other."""
    content = file if isinstance(file, bytes) else file.read_bytes()
    run = Interpreter(model_content=content).get_signature_runner()
    count = len(next(iter(examples.values())))
    given = [run(**{name: x[i : i + 1] for name, x in examples.items()}) for i in range(count)]
    return {name: np.concatenate([each[name] for each in given]) for name in given[0]}


WRAPS = {
    "dict": lambda a, b: {"z": a, "b": b},
    "nested": lambda a, b: {"left": {"z": a}, "b": b},
    "list of dicts": lambda a, b: [{"k": b}, {"a": a}],
    "tuple": lambda a, b: (b, a),
}


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
@pytest.mark.parametrize("kind", WRAPS)
def test_a_file_of_any_structure_gives_what_keras_gives(kind: str) -> None:
    one, other = keras.Input((4,), name="one"), keras.Input((3,), name="other")
    outputs = [layers.Dense(2, name="first")(one), layers.Dense(5, name="second")(other)]
    model = keras.Model(WRAPS[kind](one, other), WRAPS[kind](*outputs))
    rng = np.random.default_rng(0)
    flat = [rng.normal(size=(3, *x.shape[1:])).astype("float32") for x in model.inputs]
    wanted = keras.tree.flatten(model.predict(arranged(model, flat), verbose=0))
    content = convert_litert(model, "float32")
    names = sorted(Interpreter(model_content=content).get_signature_runner().get_input_details())
    expected = {
        "dict": (["b", "z"], ["b", "z"]),
        "nested": (["b", "left_z"], ["b", "left_z"]),
        "list of dicts": (["x0_k", "x1_a"], ["x0_k", "x1_a"]),
        "tuple": (["one", "other"], ["first", "second"]),
    }[kind]
    assert names == expected[0]
    order = ["other", "one"] if kind == "tuple" else expected[0]
    found = by_signature(content, dict(zip(order, flat, strict=True)))
    assert sorted(found) == expected[1]
    for name, values in zip(
        ["second", "first"] if kind == "tuple" else expected[1], wanted, strict=True
    ):
        np.testing.assert_allclose(found[name], values, atol=1e-5)
