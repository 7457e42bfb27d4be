"""Runs a stage whose folders may live on an S3 server."""

import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pocketkube.errors import RejectedFile, UserError
from pocketkube.stages.call import StageCall
from pocketkube.stages.run import Ran, run_stage
from pocketkube.storage import (
    Place,
    ServerAway,
    fetch_folder,
    is_uri,
    parse_uri,
    refuse_unwritable,
    send_folder,
)
from pocketkube.training.mpirun import started_first

# Some ten minutes: as long as a server's machine may take to come back.
PAUSES_S = (5, 10, 20, 40, 80, 160, 300)


def run_stage_at(call: StageCall) -> Ran:
    """Runs a stage where its folders are: on this machine, or below s3:// URIs.

    Inputs are fetched into the folder for temporary files, the output is made there and sent when it is
    complete: again and again for some ten minutes where the server is away, and where that is in vain
    it is kept. Of several processes that train together, each fetches and the first one sends.

    Args:
        call: The call.

    Raises:
        UserError: If a URI is wrong, its server refuses or lacks it, the output is to replace an input,
            or `run_stage` refuses.
    """
    places = {name: _place(text) for name, text in call.inputs.items()}
    target = _place(call.output)
    for name, place in places.items():
        if place == target:
            raise UserError(
                f"--output: {target} is the {name} that {call.stage} reads; give another place."
            )
    if not any(isinstance(place, Place) for place in (*places.values(), target)):
        return run_stage(replace(call, inputs=_fetched(places, Path()), output=str(target)))
    with _temporary_folder() as work:
        if isinstance(target, Place) and started_first():
            refuse_unwritable(target)
        local = replace(call, inputs=_fetched(places, Path(work)))
        if isinstance(target, Path):
            return run_stage(replace(local, output=str(target)))
        made = Path(work) / "output"
        try:
            ran = run_stage(replace(local, output=str(made)))
            if started_first():
                _send_or_keep(made, target)
        except RejectedFile as error:
            kept = Path(tempfile.mkdtemp(prefix="pocketkube-output-"))
            raise error.keep(kept / "rejected.tflite") from error
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{target} was not written whole; the same command runs this stage again."
            ) from None
        return ran


def _place(text: str) -> Place | Path:
    return parse_uri(text) if is_uri(text) else Path(text).resolve()


def _fetched(places: Mapping[str, Place | Path], work: Path) -> dict[str, str]:
    """A folder for each input; one for all that are the same place."""
    folders: dict[Place | Path, Path] = {}
    for place in places.values():
        if isinstance(place, Path):
            folders[place] = place
        elif place not in folders:
            folders[place] = work / f"input{len(folders)}"
            fetch_folder(place, folders[place])
    return {name: str(folders[place]) for name, place in places.items()}


def _send_or_keep(made: Path, target: Place) -> None:
    try:
        _send(made, target)
    except UserError as error:
        kept = Path(tempfile.mkdtemp(prefix="pocketkube-output-"))
        made.replace(kept)
        raise UserError(f"{error} The output is complete, and kept in {kept}.") from error


def _send(made: Path, target: Place) -> None:
    for pause in PAUSES_S:
        try:
            send_folder(made, target)
        except ServerAway as error:
            print(f'stage=send again_in={pause}s reason="{error}"', file=sys.stderr, flush=True)
            time.sleep(pause)
        else:
            return
    send_folder(made, target)


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="pocketkube-")
    except OSError as error:
        raise UserError(
            f"s3:// places need a folder for temporary files: {error.strerror}; set TMPDIR to one that "
            "can be written, in a container an emptyDir."
        ) from error
