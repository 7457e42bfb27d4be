"""Which folders of this machine a stage may replace: those that a stage has written."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from os.path import lexists
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.facts import load_facts
from pocketkube.files.layout import (
    BENCHMARK_FILE,
    CHECK_FILE,
    CURVE_FILE,
    FACTS_FILE,
    FRONT_RATIOS,
    LITERT_FILE,
    MODEL_FILE,
    NETWORKS_FILE,
    PACKED_FILE,
    PROBLEM_FILE,
    RATIOS_FILE,
    REPORT_FILE,
    RESULT_FILE,
    SAMPLES_FILE,
    SCORES_FILE,
    SEARCH_FILE,
    TABLE_FILE,
    TOKENIZER_FILE,
    TRANSLATOR_FILE,
    TRIALS_FILE,
)
from pocketkube.files.overwriting import refuse_overwriting
from pocketkube.stages.call import StageCall
from pocketkube.stages.outside import named_outside
from pocketkube.stages.registry import STAGES
from pocketkube.storage import is_uri
from pocketkube.storage.checksums import CONTENTS_FILE

# One of these is in each stage's output, and beside it others of the second kind may be.
_FACTS = (
    BENCHMARK_FILE,
    CHECK_FILE,
    FACTS_FILE,
    NETWORKS_FILE,
    RESULT_FILE,
    SEARCH_FILE,
    TABLE_FILE,
)
_OTHERS = (
    # Of a folder that other programs have fetched from a server.
    CONTENTS_FILE,
    CURVE_FILE,
    f"{FRONT_RATIOS}/trial_*.yaml",
    LITERT_FILE,
    MODEL_FILE,
    "[0-9]*.tflite",
    PACKED_FILE,
    PROBLEM_FILE,
    RATIOS_FILE,
    REPORT_FILE,
    SAMPLES_FILE,
    SCORES_FILE,
    TOKENIZER_FILE,
    TRANSLATOR_FILE,
    TRIALS_FILE,
)

# What systems and programs leave where somebody has looked; not every hidden name, as .git, is such.
_LEFT_BY_OTHERS = (
    ".DS_Store",
    "._*",
    ".directory",
    ".ipynb_checkpoints",
    ".nfs*",
    "Thumbs.db",
    "desktop.ini",
)


def refuse_to_replace(target: Path, call: StageCall) -> None:
    """Says when a call's output folder holds what a user would miss; an empty one holds nothing.

    Args:
        target: The folder that the call is to make or replace.
        call: The call.

    Raises:
        UserError: If it is a file, holds something that the call reads, or anything that no stage has
            written.
    """
    read = [*call.inputs.items(), *named_outside(call.config)]
    # Read as a path, an address would be below the current folder, which may be the target.
    refuse_overwriting([each for each in read if not is_uri(each[1])], [target])
    if not lexists(target):
        return
    if not target.is_dir():
        raise UserError(
            f"--output: {target} is a file, and a stage writes a folder; give another place."
        )
    # What a package's stage puts beside its bundle, it alone knows.
    if call.stage not in STAGES and _made_by(target) == call.stage:
        return
    there = sorted(_files(target))
    others = [name for name in there if not _is_one_of(name, _FACTS + _OTHERS)]
    if others or (there and not set(there) & {*_FACTS}):
        raise UserError(
            f"--output: {target / (others or there)[0]} is there, which no stage has written, and "
            f"would be gone with all of {target}: give another place, or remove what is there."
        )


def _made_by(folder: Path) -> str | None:
    """The stage that made the bundle in a folder, where there is one that can be read."""
    try:
        return load_facts(folder).made.name
    except UserError:
        return None


def _files(folder: Path) -> Iterator[str]:
    """What is in a folder: its files, those of the one folder that a stage makes in it, and others."""
    for path in folder.iterdir():
        if path.name == FRONT_RATIOS and path.is_dir():
            yield from (f"{FRONT_RATIOS}/{name}" for name in _files(path))
        elif not _is_one_of(path.name, _LEFT_BY_OTHERS):
            yield path.name


def _is_one_of(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
