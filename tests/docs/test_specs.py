"""Blocks of YAML are specs that load, or parts of one, or settings that other commands take."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pocketkube.errors import UserError
from pocketkube.kube.kfp.schedules import load_schedules
from pocketkube.retraining.settings import load_retraining
from pocketkube.spec import Spec, load_spec
from tests.docs.written import Block, blocks

# What makes a whole spec of a part; a target goes only with stages that take one.
BESIDE: dict[str, Any] = {
    "model": "net.keras",
    "dataset": "digits",
    "stages": ["prune_channels", "fine_tune", "quantize_int8"],
}
TARGET = {"target": {"speedup": 2}}
RETRAINING, SCHEDULES = "# retraining.yaml", "# schedules.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "my_layers.py").write_text("")
    (tmp_path / "spec.yaml").write_text(
        "model: net.keras\ndataset: {npz: data.npz}\nstages: [fine_tune, quantize_int8]\n"
    )
    return tmp_path


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_spec_is_valid(block: Block, folder: Path) -> None:
    file = folder / "block.yaml"
    if block.text.startswith(RETRAINING):
        file.write_text(block.text)
        load_retraining(file)
        return
    if block.text.startswith(SCHEDULES):
        file.write_text(block.text)
        assert load_schedules(file)
        return
    part = yaml.safe_load(block.text)
    assert set(part) <= set(Spec.model_fields)
    causes = []
    for beside in (BESIDE, BESIDE | TARGET):
        file.write_text(yaml.safe_dump(beside | part, sort_keys=False))
        try:
            load_spec(file)
        except UserError as error:
            causes.append(str(error))
        else:
            return
    pytest.fail(f"{block}: {causes}")
