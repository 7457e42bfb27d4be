"""Runs single steps of a spec's job."""

from collections.abc import Mapping
from pathlib import Path

from pocketkube.spec import Spec
from pocketkube.stages.call import StageCall
from pocketkube.stages.plan import step_named
from pocketkube.stages.run import Ran, run_stage


def call_of(spec: Spec, name: str, inputs: Mapping[str, Path | str], output: Path | str) -> StageCall:
    """A call of a step: by its key, or by its stage where there is one such."""
    step = step_named(spec, name)
    folders = {role: str(folder) for role, folder in inputs.items()}
    return StageCall(step.stage, step.config, folders, str(output))


def run_step(
    spec: Spec, name: str, inputs: Mapping[str, Path], output: Path, cache: Path | None = None
) -> Ran:
    """Runs such a call."""
    return run_stage(call_of(spec, name, inputs, output), cache)
