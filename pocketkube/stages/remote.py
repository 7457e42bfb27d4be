"""Runs a stage whose folders may live on an S3 server."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.spec.schema import Spec
from pocketkube.stages.run import STAGES, run_stage
from pocketkube.storage import fetch_folder, is_uri, parse_uri, refuse_unwritable, send_folder
from pocketkube.training.mpirun import started_first


def run_stage_at(name: str, spec: Spec, position: int, inputs: Mapping[str, str], output: str) -> bool:
    """Runs a stage where its folders are: on this machine, or below s3:// URIs.

    Inputs are fetched into the folder for temporary files, the output is made there and sent when it is
    complete. Of several processes that train together, each fetches and the first one sends.

    Args:
        name: The stage.
        spec: The job.
        position: Place of the stage's settings in the spec's stages, or -1.
        inputs: A folder or URI for each of the stage's inputs.
        output: The folder or URI to write; complete or absent.

    Returns:
        Whether the output came from the cache.

    Raises:
        UserError: If a URI is wrong, its server refuses or lacks it, or `run_stage` refuses.
    """
    if name not in STAGES or not any(map(is_uri, (*inputs.values(), output))):
        folders = {role: Path(place).resolve() for role, place in inputs.items()}
        return run_stage(name, spec, position, folders, Path(output).resolve())
    target = parse_uri(output) if is_uri(output) else None
    sources = {role: parse_uri(place) for role, place in inputs.items() if is_uri(place)}
    with _temporary_folder() as work:
        if target and started_first():
            refuse_unwritable(target)
        folders = {role: Path(place).resolve() for role, place in inputs.items()}
        for number, (role, source) in enumerate(sources.items()):
            folders[role] = Path(work) / f"input{number}"
            fetch_folder(source, folders[role])
        if target is None:
            return run_stage(name, spec, position, folders, Path(output).resolve())
        made = Path(work) / "output"
        try:
            found = run_stage(name, spec, position, folders, made)
            if started_first():
                send_folder(made, target)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{target} was not written whole; the same command runs this stage again."
            ) from None
        return found


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="pocketkube-")
    except OSError as error:
        raise UserError(
            f"s3:// places need a folder for temporary files: {error.strerror}; set TMPDIR to one that "
            "can be written, in a container an emptyDir."
        ) from error
