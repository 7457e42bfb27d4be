"""Where finished stages are kept, so that none runs again while nothing that it depends on changed."""

import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from pocketkube.files.below import files_below
from pocketkube.files.whole import sha256_of, write_text
from pocketkube.stages.added import added_modules
from pocketkube.stages.call import StageCall
from pocketkube.stages.code import code_digest
from pocketkube.stages.configs import SearchRatiosConfig, StageConfig
from pocketkube.stages.outside import outside_locations


def kept_place(cache: Path, call: StageCall) -> Path:
    """Where a call's output is kept, or will be.

    Args:
        cache: The folder of all that is kept.
        call: The call, its inputs folders on this machine.
    """
    return cache / f"{call.stage}-{fingerprint(call)[:16]}"


def trials_place(cache: Path, call: StageCall) -> Path | None:
    """Where a search's trials are kept, for later ones that try more often or by another sampler.

    Args:
        cache: The folder of all that is kept.
        call: The call, its inputs folders on this machine.

    Returns:
        None for a call that is no search, or where they are another user's.
    """
    if not isinstance(call.config, SearchRatiosConfig):
        return None
    same = replace(call, config=call.config.of_any_trials)
    place = cache / f".{call.stage}-{fingerprint(same)[:16]}.trials"
    return None if place.is_dir() and not os.access(place, os.W_OK) else place


def fingerprint(call: StageCall) -> str:
    """What a call's output follows from, in hexadecimal digits.

    It follows from the call's config, with defaults, for other code may have others; from the content
    of its inputs; from the stamps of what it reads from outside; and from the code.

    Args:
        call: The call, its inputs folders on this machine.
    """
    modules = (call.definition.module, *added_modules(call.config))
    told = [call.stage, call.config.model_dump(mode="json"), code_digest(*modules)]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    digest.update(_stamps(call.config).encode())
    for name, folder in sorted(call.inputs.items()):
        digest.update(name.encode())
        _update_by_content(digest, Path(folder))
    return digest.hexdigest()


def data_digest(config: StageConfig) -> str:
    """What examples and files from outside a config names, in hexadecimal digits."""
    told = config.model_dump_json(include={"dataset"}) + _stamps(config)
    return hashlib.sha256(told.encode()).hexdigest()


def is_kept(kept: Path) -> bool:
    """Whether an output is kept as it was written.

    One whose files have changed since, as a failing disk or a person leaves them, is removed, and that
    is said on standard error. One that was written by a process that was killed right then counts as
    it stands: it was renamed when it was whole. So does one without digests in a folder
    that is only read.

    Args:
        kept: See `kept_place`.
    """
    if not kept.is_dir():
        return False
    written = _digests_file(kept)
    if not written.is_file():
        if os.access(kept.parent, os.W_OK):
            note_digests(kept)
        return True
    then, now = written.read_text("utf-8", "replace"), _digests(kept)
    if then == now:
        return True
    changed = sorted(set(then.splitlines()) ^ set(now.splitlines()), key=lambda line: line[65:])
    name = changed[0][65:].strip() if changed else ""
    print(f"{kept / name} is not as it was written: the stage runs again.", file=sys.stderr, flush=True)
    shutil.rmtree(kept)
    written.unlink()
    return False


def note_digests(kept: Path) -> None:
    """Writes down what an output consists of, for `is_kept`; `sha256sum -c` reads it, too."""
    write_text(_digests_file(kept), _digests(kept))


def _digests_file(kept: Path) -> Path:
    return kept.with_name(f"{kept.name}.sha256")


def _digests(folder: Path) -> str:
    files = sorted(path for path in files_below(folder) if path.is_file())
    return "".join(f"{sha256_of(file)}  {file.relative_to(folder).as_posix()}\n" for file in files)


def _update_by_content(digest: "hashlib._Hash", folder: Path) -> None:
    for file in sorted(path for path in files_below(folder) if path.is_file()):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())


def _stamps(config: StageConfig) -> str:
    """Changes when what a config names does, without reading it all."""
    return json.dumps([location.stamp() for location in outside_locations(config)])
