"""Runs a stage whose folders may live on an S3 server."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pocketkube.errors import RejectedFile, UserError
from pocketkube.spec.schema import Spec
from pocketkube.stages.run import Ran, refuse_wrong_call, run_stage
from pocketkube.storage import (
    LocalLocation,
    S3Address,
    S3Location,
    parse_location,
    patiently,
    refuse_unwritable,
    send_folder,
)
from pocketkube.training.mpirun import started_first


def run_stage_at(name: str, spec: Spec, position: int, inputs: Mapping[str, str], output: str) -> Ran:
    """Runs a stage where its folders are: on this machine, or below s3:// URIs.

    Inputs are fetched into the cache of downloads, once for all processes of a machine. The output is
    made in the folder for temporary files and sent when it is complete, by the first of several
    processes that train together: again and again for some ten minutes where the server is away, and
    where that is in vain it is kept.

    Args:
        name: The stage.
        spec: The job.
        position: Place of the stage's settings in the spec's stages, or -1.
        inputs: A folder or URI for each of the stage's inputs.
        output: The folder or URI to write; complete or absent.

    Raises:
        UserError: If a URI is wrong, its server refuses or lacks it, the output is to replace an input,
            or `run_stage` refuses.
    """
    refuse_wrong_call(name, spec, position, inputs)
    locations = {role: _location(text) for role, text in inputs.items()}
    target = _location(output)
    for role, location in locations.items():
        if location == target:
            raise UserError(f"--output: {target} is the {role} that {name} reads; give another place.")
    with ExitStack() as stack:
        if isinstance(target, S3Location):
            made = Path(stack.enter_context(_temporary_folder())) / "output"
            if started_first():
                refuse_unwritable(target.address)
        folders = {
            role: stack.enter_context(location.fetched(sealed=True))
            for role, location in locations.items()
        }
        if isinstance(target, LocalLocation):
            return run_stage(name, spec, position, folders, target.path)
        try:
            ran = run_stage(name, spec, position, folders, made)
            if started_first():
                _send_or_keep(made, target.address)
        except RejectedFile as error:
            kept = Path(tempfile.mkdtemp(prefix="pocketkube-output-"))
            raise error.keep(kept / "rejected.tflite") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{target} was not written whole; the same command runs this stage again."
            ) from None
        return ran


def _location(text: str) -> LocalLocation | S3Location:
    """Where `text` is; two texts for one folder are equal then."""
    location = parse_location(text)
    return location if isinstance(location, S3Location) else LocalLocation(Path(text).resolve())


def _send_or_keep(made: Path, target: S3Address) -> None:
    try:
        patiently("send", lambda: send_folder(made, target))
    except UserError as error:
        kept = Path(tempfile.mkdtemp(prefix="pocketkube-output-"))
        made.replace(kept)
        raise UserError(f"{error} The output is complete, and kept in {kept}.") from error


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="pocketkube-")
    except OSError as error:
        raise UserError(
            f"s3:// places need a folder for temporary files: {error.strerror}; set TMPDIR to one that "
            "can be written, in a container an emptyDir."
        ) from error
