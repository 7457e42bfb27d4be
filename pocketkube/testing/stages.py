"""What holds of every stage that a package adds."""

import json
from pathlib import Path

import numpy as np
import pytest

from pocketkube.bundle import load_bundle
from pocketkube.spec import Spec, document_of, parse_spec
from pocketkube.stages.call import StageCall, config_of
from pocketkube.stages.plan import plan
from pocketkube.stages.registry import stage_named
from pocketkube.stages.run import run_stage


class StageTests:
    """Give the fixture `spec`: a short job, which begins with the stage."""

    @pytest.fixture
    def spec(self) -> Spec:
        """The job."""
        raise NotImplementedError

    @pytest.fixture
    def call(self, spec: Spec, tmp_path: Path) -> StageCall:
        """The stage's call, after the network is made."""
        steps = {step.key: step for step in plan(spec)}
        first = steps["train_model"].call({}, str(tmp_path / "trained"))
        run_stage(first)
        key = f"1_{spec.stages[0].name}"
        return steps[key].call({"train_model": str(tmp_path / "trained")}, str(tmp_path / "out"))

    def test_its_settings_survive_being_written_down(self, spec: Spec) -> None:
        """They travel to other processes and pipelines as JSON."""
        assert parse_spec(json.loads(json.dumps(document_of(spec)))) == spec

    def test_it_can_be_run_by_another_process(self, spec: Spec) -> None:
        """Its call survives being written as a command line."""
        key = f"1_{spec.stages[0].name}"
        step = next(step for step in plan(spec) if step.key == key)
        call = step.call({"train_model": "in"}, "out")
        words = call.argv()
        document = json.loads(words[words.index("--config") + 1])
        assert config_of(call.stage, document) == call.config

    def test_it_makes_a_bundle_of_a_bundle(self, spec: Spec, call: StageCall) -> None:
        """With one more stage; the network's inputs and outputs stay, and so does the first bundle."""
        folder = Path(call.inputs["model"])
        content = {file.name: file.read_bytes() for file in folder.iterdir()}
        run_stage(call)
        before, after = load_bundle(folder), load_bundle(Path(call.output))
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == content
        done = [each.name for each in after.facts.stages]
        assert done == [*(each.name for each in before.facts.stages), spec.stages[0].name]
        for one, other in zip(before.model.inputs, after.model.inputs, strict=True):
            assert one.shape == other.shape
        for one, other in zip(before.model.outputs, after.model.outputs, strict=True):
            assert one.shape == other.shape
        assert all(np.isfinite(np.asarray(weight)).all() for weight in after.model.weights)

    def test_it_is_kept_until_something_changes(self, call: StageCall, tmp_path: Path) -> None:
        """A second call with the same inputs is answered from the cache, if the stage is cached."""
        first = run_stage(call, tmp_path / "cache")
        second = run_stage(call, tmp_path / "cache")
        assert not first.cached
        assert second.cached == stage_named(call.stage).cached
