"""A target of the file's size counts on what later stages will make of the file."""

from pathlib import Path

import pytest

from pocketkube.facts import load_facts
from pocketkube.spec import parse_spec
from pocketkube.spec.spec import Spec
from tests.steps import run_step

SPARSE = {"sparsify_weights": {"sparsity": 0.9, "epochs": 1}}
LEVELS = {"quantize_weights": {"weight_bits": 4, "epochs": 0}}


def job(*later: dict, max_size: int = 10**9) -> Spec:
    return parse_spec(
        {
            "model": "lenet",
            "dataset": {"builtin": "digits", "image_size": [16, 16]},
            "target": {"max_size": max_size},
            "stages": [{"prune_channels": {"round_to": 1, "criterion": "l1"}}, *later],
            "training": {"epochs": 1},
            "distillation": {"weight": 0},
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("job") / "trained"
    run_step(job(), "train_model", {}, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("later", [[SPARSE], [LEVELS], [SPARSE, LEVELS], [SPARSE, "quantize_float16"]])
def test_the_file_has_the_size_that_was_foreseen(trained: Path, tmp_path: Path, later: list) -> None:
    spec, model = job(*later), trained
    for position, settings in enumerate(spec.stages):
        if settings.name == "quantize_float16":
            break
        inputs, model = {"model": model, "teacher": trained}, tmp_path / str(position)
        run_step(spec, settings.name, inputs, model)
    run_step(spec, "result", {"model": model}, tmp_path / "file")
    # Nothing was cut but the least that a search begins with.
    (told,) = [note for note in load_facts(tmp_path / "0").stages[-1].notes if "tried" in note]
    foreseen = int(told.split(": ")[1].split()[0])
    size = (tmp_path / "file" / "model.tflite").stat().st_size
    assert foreseen == pytest.approx(size, rel=0.05)
