"""A spec's whole job as a pipeline, compiled by the checkout that this package is part of."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pocketkube
from pocketkube.errors import UserError
from pocketkube.spec import Spec, load_spec

_PIPELINE = "pipelines.compression.compress_model"


def compile_job(file: Path, target: Path) -> None:
    """Compiles the pipeline of a spec's stages.

    Args:
        file: The spec.
        target: The package to write.

    Raises:
        UserError: If the spec is wrong, reads something that only this machine has, or the folder
            pipelines/ is not there, as in an installed package.
    """
    spec = load_spec(file)
    _refuse_local_places(spec, file)
    compress_model = _pipeline_builder()
    from kfp import compiler

    compiler.Compiler().compile(compress_model(spec), str(target))


def _refuse_local_places(spec: Spec, file: Path) -> None:
    """Refuses what the job would look for in a pod, where it is not."""
    from pocketkube.stages.outside import outside_locations
    from pocketkube.stages.plan import plan
    from pocketkube.storage import LocalLocation

    for step in plan(spec):
        for place in outside_locations(step.config):
            if isinstance(place, LocalLocation):
                raise UserError(
                    f"{file.name}: {place} is a place on this machine, which a cluster does not reach; "
                    f"put it on the S3 server and give its address, as in s3://bucket/{place.name}."
                )


def _pipeline_builder() -> Callable[[Spec], Any]:
    checkout = Path(pocketkube.__file__).resolve().parents[1]
    if find_spec("pipelines") is None and (checkout / "pipelines").is_dir():
        sys.path.append(str(checkout))
    try:
        builder: Callable[[Spec], Any] = import_module(_PIPELINE).compress_model
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("pipelines"):
            raise
        raise UserError(
            "compiling a spec needs the project's checkout, with its folder pipelines/; beside an "
            "installed package give a compiled one by --package."
        ) from None
    return builder
