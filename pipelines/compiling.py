"""Writes pipelines as the packages that Kubeflow Pipelines takes."""

import re
from pathlib import Path
from typing import Any

from kfp import compiler

from pipelines.compression.compress_model import NAME, compress_model
from pipelines.ready import READY
from pocketkube.files.whole import replaced_file
from pocketkube.spec import Spec
from pocketkube.stages.reachable import check_reachable

# Of a file's name so much is in the name of its pipeline, which Kubernetes' names are made of.
LONGEST = 40


def compile_ready(folder: Path) -> list[Path]:
    """Writes the package of each ready pipeline.

    Args:
        folder: Gets a file for each, of its name.

    Returns:
        The files.
    """
    return [_written(make(), folder / f"{name}.yaml") for name, make in READY.items()]


def compile_spec(spec: Spec, file: Path) -> Path:
    """Writes the package of a spec's own pipeline.

    Args:
        spec: The job.
        file: Gets the package. The pipeline is called after it, so that it becomes no version of the
            ready one, whose form it has not.

    Returns:
        The file.

    Raises:
        UserError: If a stage has no component, or a path is one of this machine.
    """
    check_reachable(spec)
    return _written(compress_model(spec, f"{NAME}-{_as_kfp_has_names(file.stem)}"), file)


def _as_kfp_has_names(stem: str) -> str:
    plain = re.sub("[^a-z0-9]+", "-", stem.lower()).strip("-")
    return plain[:LONGEST].rstrip("-") or "spec"


def _written(pipeline: Any, file: Path) -> Path:
    with replaced_file(file) as aside:
        compiler.Compiler().compile(pipeline, str(aside))
    return file
