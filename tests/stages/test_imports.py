"""A whole job of a network with layers of the user's own, whose code is beside the spec."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pocketkube.bundle import load_bundle
from pocketkube.errors import UserError
from pocketkube.importing import import_all
from pocketkube.spec import load_spec
from pocketkube.stages.cache import fingerprint
from pocketkube.stages.call import config_of
from pocketkube.stages.plan import plan
from tests.own_modules import as_before, save_network

SPEC = """
model: net.keras
imports: [my_layers]
dataset: {builtin: digits, image_size: [8, 8], max_train: 600}
target: {speedup: 2}
stages:
  - prune_channels: {round_to: 1}
  - fine_tune: {epochs: 24, learning_rate: 0.01}
  - quantize_int8
training: {batch_size: 32}
distillation: {weight: 0}
benchmark: {runs: 5, threads: [1]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("own")
    save_network(made)
    (made / "spec.yaml").write_text(SPEC)
    return made


def test_a_job_prunes_trains_and_exports_them(folder: Path, tmp_path: Path) -> None:
    # From another folder: what is beside the spec is found by the spec alone.
    done = subprocess.run(
        [sys.executable, "-m", "pocketkube", "run", folder / "spec.yaml", "-o", "out", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert 2.0 <= result["speedup"] < 2.5
    assert result["after"]["format"] == "int8"
    assert result["after"]["score"] > 0.8
    made = tmp_path / "out" / "steps" / "2_fine_tune"
    with pytest.raises(UserError, match="uses the class Named and the class Halved"):
        load_bundle(made)
    with as_before():
        import_all(load_spec(folder / "spec.yaml").imports)
        layers = {layer.name: layer for layer in load_bundle(made).model.layers}
    assert type(layers["stem"]).__name__ == "Named"
    assert layers["stem"].role == "stem"
    assert layers["stem"].filters + layers["halved"].filters < 24


def test_the_text_is_a_part_of_what_a_step_follows_from(folder: Path, tmp_path: Path) -> None:
    def prints() -> dict[str, str]:
        steps = plan(load_spec(tmp_path / "spec.yaml"))
        folders = {step.key: str(tmp_path / "empty") for step in steps}
        return {step.key: fingerprint(step.call(folders, "")) for step in steps}

    (tmp_path / "empty").mkdir()
    # Workers, Katib's trials and pods of tasks get it by their command lines.
    for step in plan(load_spec(folder / "spec.yaml")):
        call = step.call(dict.fromkeys(step.inputs.values(), "a"), "b")
        _, stage, _, config, *_ = call.argv()
        assert config_of(stage, json.loads(config)) == step.config
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "my_layers.py").write_text((folder / "my_layers.py").read_text())
    before = prints()
    # Having imported them makes no difference.
    with as_before():
        import_all(load_spec(tmp_path / "spec.yaml").imports)
        assert prints() == before
    with (tmp_path / "my_layers.py").open("a") as opened:
        opened.write("\n# changed\n")
    after = prints()
    same = {key for key in before if before[key] == after[key]}
    assert same == {"benchmark"}
