"""Writes pipelines as the packages that Kubeflow Pipelines takes."""

from pathlib import Path
from typing import Any

from kfp import compiler

from pipelines.compression.compress_model import compress_model
from pipelines.ready import READY
from pocketkube.files.whole import replaced_file
from pocketkube.spec import Spec
from pocketkube.stages.reachable import check_reachable


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
        file: Gets the package.

    Returns:
        The file.

    Raises:
        UserError: If a stage has no component, or a path is one of this machine.
    """
    check_reachable(spec)
    return _written(compress_model(spec), file)


def _written(pipeline: Any, file: Path) -> Path:
    with replaced_file(file) as aside:
        compiler.Compiler().compile(pipeline, str(aside))
    return file
