"""A job is the same job wherever its spec is read: in this process, in a worker's, in a component."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from pipelines.compression.compress_model import compress_model
from pocketkube.cli import main
from pocketkube.facts import load_facts
from pocketkube.litert import LiteRTModel
from pocketkube.spec import Spec, document_of, parse_spec, yaml_of
from pocketkube.stages.component import run_component
from pocketkube.stages.run import run_stage
from tests.spec.test_writing import as_floats

Run = Callable[[str, int, dict[str, Path], Path], Any]


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(16), layers.Dense(10)]
    )
    file = tmp_path_factory.mktemp("net") / "net.keras"
    net.save(file)
    quantize = {"weight_bits": 6, "activation_bits": "float", "epochs": 0}
    return parse_spec(
        {
            "model": str(file),
            "dataset": {"builtin": "digits", "image_size": [8, 8]},
            "stages": [{"quantize_weights": quantize}],
        }
    )


def here(spec: Spec, folder: Path) -> Run:
    return lambda *call: run_stage(call[0], spec, *call[1:])


def in_a_worker(spec: Spec, folder: Path) -> Run:
    file = folder / "spec.yaml"
    file.write_text(yaml_of(document_of(spec)), "utf-8")

    def run(name: str, position: int, inputs: dict[str, Path], output: Path) -> None:
        arguments = ["stage", name, "--spec", str(file), "--position", str(position)]
        arguments += [f"--input={role}={place}" for role, place in inputs.items()]
        main([*arguments, "--output", str(output)])

    return run


def in_a_component(spec: Spec, folder: Path) -> Run:
    (parameter,) = compress_model(spec).component_spec.inputs.values()
    sent = as_floats(json.loads(json.dumps(parameter.default)))

    def run(name: str, position: int, inputs: dict[str, Path], output: Path) -> None:
        places = {role: str(place) for role, place in inputs.items()}
        run_component(name, sent, places, str(output), float(position))

    return run


def contents(file: Path) -> list[tuple[Any, ...]]:
    """What a LiteRT file holds; names bear TensorFlow's count of functions in this process."""
    interpreter = Interpreter(str(file))
    interpreter.allocate_tensors()
    tensors = interpreter.get_tensor_details()
    return [
        (t["dtype"], tuple(t["shape"]), tuple(t["quantization_parameters"]["scales"])) for t in tensors
    ]


def test_the_same_file_comes_of_it(job: Spec, tmp_path: Path) -> None:
    files = []
    for way in (here, in_a_worker, in_a_component):
        folder = tmp_path / way.__name__
        folder.mkdir()
        run = way(job, folder)
        run("train_model", -1, {}, folder / "first")
        models = {"model": folder / "first", "teacher": folder / "first"}
        run("quantize_weights", 0, models, folder / "levels")
        run("export_litert", 0, {"model": folder / "levels"}, folder / "file")
        assert load_facts(folder / "file")["format"] == "dynamic"
        files.append(folder / "file" / "model.tflite")
    first, *others = map(contents, files)
    assert np.int8 in {dtype for dtype, *_ in first}
    x = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    outputs, *those_of_others = [
        np.concatenate([y for (y,) in LiteRTModel(f).predict([x])]) for f in files
    ]
    for other, given in zip(others, those_of_others, strict=True):
        assert other == first
        np.testing.assert_array_equal(given, outputs)
