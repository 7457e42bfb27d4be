"""Runs a stage whose folders may live on an S3 server."""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pocketkube.errors import RejectedFile, UserError
from pocketkube.files.whole import temporary_folder
from pocketkube.processes.ranks import started_first
from pocketkube.stages.call import StageCall
from pocketkube.stages.replaceable import refuse_to_replace
from pocketkube.stages.run import Ran, forget_checkpoints, run_stage
from pocketkube.storage import (
    LocalLocation,
    S3Address,
    S3Location,
    parse_location,
    patiently,
    refuse_unwritable,
    send_folder,
)


def run_stage_at(call: StageCall) -> Ran:
    """Runs a stage where its folders are: on this machine, or below s3:// URIs.

    Inputs are fetched into the cache of downloads, once for all processes of a machine. The output is
    made in the folder for temporary files and sent when it is complete, by the first of several
    processes that train together: again and again for some ten minutes where the server is away, and
    where that is in vain it is kept.

    Args:
        call: The call.

    Raises:
        UserError: If a URI is wrong, its server refuses or lacks it, the output is to replace an input
            or what no stage has written, or `run_stage` refuses.
    """
    locations = {name: _location(text) for name, text in call.inputs.items()}
    target = _location(call.output)
    for name, location in locations.items():
        if location == target:
            raise UserError(
                f"--output: {target} is the {name} that {call.stage} reads; give another place."
            )
    with ExitStack() as stack:
        if isinstance(target, LocalLocation):
            # The others write nothing there; see `written_by_the_first`.
            if started_first():
                refuse_to_replace(target.path, call)
        else:
            made = _temporary_folder(stack) / "output"
            if started_first():
                refuse_unwritable(target.address)
        folders = {
            name: str(stack.enter_context(location.fetched(sealed=True)))
            for name, location in locations.items()
        }
        if isinstance(target, LocalLocation):
            ran = run_stage(replace(call, inputs=folders, output=str(target)))
            forget_checkpoints(call)
            return ran
        try:
            ran = run_stage(replace(call, inputs=folders, output=str(made)))
            if started_first():
                _send_or_keep(made, target.address)
                forget_checkpoints(call)
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
        raise error.saying(f"{error} The output is complete, and kept in {kept}.") from error


def _temporary_folder(stack: ExitStack) -> Path:
    try:
        return stack.enter_context(temporary_folder())
    except OSError as error:
        raise UserError(
            f"s3:// places need a folder for temporary files: {error.strerror}; set TMPDIR to one that "
            "can be written, in a container an emptyDir."
        ) from error
