"""A job is the same job wherever its spec is read: in this process, in a worker's, in a component."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from pocketkube.cli import main
from pocketkube.facts import load_exported
from pocketkube.litert.running import LiteRTModel
from pocketkube.spec import Spec, document_of, parse_spec, settings_document, yaml_of
from pocketkube.stages.call import StageCall
from pocketkube.stages.component import run_component
from pocketkube.stages.run import run_stage
from tests.spec.test_writing import as_floats
from tests.steps import call_of


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


def here(call: StageCall) -> None:
    run_stage(call)


def in_a_worker(call: StageCall) -> None:
    main(call.argv())


def in_a_component(call: StageCall) -> None:
    sent = as_floats(json.loads(json.dumps(settings_document(call.config))))
    artifacts = {name: SimpleNamespace(path=folder) for name, folder in call.inputs.items()}
    run_component(call.stage, sent, call.output, artifacts)


def by_hand(call: StageCall, key: str, job: Spec) -> None:
    file = Path(call.output).with_suffix(".yaml")
    file.write_text(yaml_of(document_of(job)), "utf-8")
    inputs = [f"--input={name}={folder}" for name, folder in call.inputs.items()]
    main(["stage", key, "--spec", str(file), *inputs, "--output", call.output])


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
    for way in (here, in_a_worker, in_a_component, by_hand):
        folder = tmp_path / way.__name__
        folder.mkdir()

        def run(name: str, inputs: dict[str, Path], output: Path, way: Any = way) -> None:
            call = call_of(job, name, inputs, output)
            way(call, name, job) if way is by_hand else way(call)

        run("train_model", {}, folder / "first")
        run("quantize_weights", {"model": folder / "first"}, folder / "levels")
        run("result", {"model": folder / "levels"}, folder / "file")
        assert load_exported(folder / "file").format == "dynamic"
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
