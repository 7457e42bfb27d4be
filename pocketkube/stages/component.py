"""What every KFP component does: brings its parameters back into shape and runs its stage."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.spec import parse_spec
from pocketkube.stages.run import run_stage


def run_component(
    stage: str, spec: Mapping[str, Any], inputs: Mapping[str, str], output: str, position: float = -1
) -> None:
    """Runs a stage inside a KFP component; ends the process where the stage refuses.

    KFP hands numbers over as it likes (2.0 as 2 on a back end, 2 as 2.0 on one machine): they are
    brought back to what the spec declares.

    Args:
        stage: The stage.
        spec: The spec as a dict.
        inputs: A folder for each input.
        output: The folder to write.
        position: Place of the stage's settings in the spec's stages, or -1.
    """
    try:
        folders = {role: Path(folder).resolve() for role, folder in inputs.items()}
        if run_stage(stage, parse_spec(spec), int(position), folders, Path(output).resolve()).cached:
            print("unchanged since the last run", file=sys.stderr)
    except UserError as error:
        # A back end shows no more than the last line of standard error.
        sys.exit(f"{UserError.PREFIX}{error}")


def metrics_of(folder: str) -> dict[str, float]:
    """The figures of the last stage of a bundle, for KFP to show."""
    facts = load_facts(Path(folder))
    last = facts["stages"][-1]
    shown = {
        facts["task"]["score_name"]: last["score"],
        f"validation_{facts['task']['score_name']}": last["val_score"],
        **(_of_heads(last["heads"]) if len(last["heads"]) > 1 else {}),
        "macs" if last["macs_bound"] == "exact" else "macs_at_least": last["macs"],
        "parameters": last["parameters"],
        "seconds": last["seconds"],
    }
    return {name: float(value) for name, value in shown.items() if value is not None}


def _of_heads(heads: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {f"{head['name']}_{head['score_name']}": head["score"] for head in heads}
