"""A spec's whole job as a pipeline, compiled by the checkout that this package is part of."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pocketkube
from pocketkube.errors import UserError
from pocketkube.spec import load_spec, with_imports
from pocketkube.spec.sections import Import


def compile_job(spec: Path, package: Path, imports: Sequence[Import] = ()) -> None:
    """Compiles the pipeline of a spec's stages.

    Args:
        spec: The spec's file.
        package: The file to write, after which the pipeline is called.
        imports: Modules beside those that the spec names.

    Raises:
        UserError: If the spec is wrong, reads something that only this machine has, or the folder
            pipelines/ is not there, as beside an installed package.
    """
    job = with_imports(load_spec(spec), imports)
    _compiling().compile_spec(job, package)


def _compiling() -> ModuleType:
    checkout = Path(pocketkube.__file__).resolve().parents[1]
    if find_spec("pipelines") is None and (checkout / "pipelines").is_dir():
        sys.path.append(str(checkout))
    try:
        return import_module("pipelines.compiling")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pipelines":
            raise
        raise UserError(
            "compiling a spec needs the project's checkout, with its folder pipelines/; beside an "
            "installed package give a compiled one by --package."
        ) from None
