"""Puts what the user came for at the top of the output folder."""

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pocketkube.errors import UserError
from pocketkube.files.layout import (
    CURVE_FILE,
    FRONT_RATIOS,
    KFP_RUNS,
    LITERT_FILE,
    MODEL_FILE,
    PACKED_FILE,
    RATIOS_FILE,
    REPORT_FILE,
    RESULT_FILE,
    SEARCH_FILE,
    STEPS,
    TOKENIZER_FILE,
    TRANSLATOR_FILE,
    TRIALS_FILE,
    front_file,
)
from pocketkube.files.records import read_document
from pocketkube.files.whole import replaced_file, sha256_of, write_text
from pocketkube.report.result import Result, load_result
from pocketkube.search.facts import SearchFacts
from pocketkube.spec import Spec
from pocketkube.stages.plan import BASELINE, REPORTED, RESULT, SEARCH, steps_to

OF_A_SEARCH = (RATIOS_FILE, TRIALS_FILE, SEARCH_FILE, CURVE_FILE)
BASELINE_FILE = "baseline.tflite"
_ALWAYS = (MODEL_FILE, BASELINE_FILE, LITERT_FILE, REPORT_FILE, RESULT_FILE)
_PERHAPS = (PACKED_FILE, TRANSLATOR_FILE, TOKENIZER_FILE)
# What jobs have put into the folder: all else there is somebody's own.
_SHOWN = ".shown.json"


def refuse_changed_ratios(output: Path) -> None:
    """Says when a person has changed the ratios of the search that an output folder holds.

    Args:
        output: The output folder of the job to come, which searches.

    Raises:
        UserError: If ratios.yaml is not what the search found: nothing reads it there, and the job
            would replace it.
    """
    there, found = output / RATIOS_FILE, output / STEPS / SEARCH / RATIOS_FILE
    if not there.is_file():
        return
    shown = _shown(output).get(RATIOS_FILE)
    # Where a job was killed, it is of the search before, or of the one whose files were being copied.
    known = {shown, sha256_of(found) if found.is_file() else None} - {None}
    if sha256_of(there) in known:
        return
    what = "was changed" if known else "is of no search of this folder"
    raise UserError(
        f"{output / RATIOS_FILE} {what}, and a spec with search takes what its search finds: put the "
        "numbers into the spec, as in prune_channels: {ratios: …}, and leave search out; or remove the "
        "file."
    )


def refuse_models_of_others(output: Path) -> None:
    """Says when a model stands where a job puts its own, in a folder that no job has written into.

    Args:
        output: The output folder of the job to come, which ends with its report.

    Raises:
        UserError: If there is one: the job would replace it.
    """
    if (output / STEPS).is_dir() or (output / _SHOWN).exists():
        return
    # A run that was ended while it copied its files has left no note of them yet.
    if any((output / KFP_RUNS).glob("compress-model-*")):
        return
    for name in (MODEL_FILE, BASELINE_FILE, LITERT_FILE, *_PERHAPS):
        if (output / name).exists():
            raise UserError(
                f"{output / name} is of no run of this folder, and would be written over: give another "
                "--output, or have the file elsewhere."
            )


def results_of_job(output: Path, spec: Spec, key: str = REPORTED) -> list[Path]:
    """Files and folders that a job replaces in its output folder.

    Args:
        output: The output folder.
        spec: The job.
        key: The step that it ends with: the report, or the search.
    """
    keys = [step.key for step in steps_to(spec, key)]
    names = [*_ALWAYS, *_PERHAPS] if REPORTED in keys else []
    if SEARCH in keys:
        names += [*OF_A_SEARCH, FRONT_RATIOS]
    return [output / name for name in (*names, *(f"{STEPS}/{key}" for key in keys))]


def take_note_of_earlier(output: Path) -> None:
    """Takes note of the files of an earlier job that older versions put there without a note.

    Args:
        output: The output folder of the job to come, before its steps replace those of the earlier one.
    """
    if (output / _SHOWN).exists() or not (output / STEPS).is_dir():
        return
    found = {}
    for name in (*_PERHAPS, *OF_A_SEARCH):
        sources = [step / name for step in (output / STEPS).iterdir() if (step / name).is_file()]
        if (output / name).is_file():
            digest = sha256_of(output / name)
            if digest in map(sha256_of, sources):
                found[name] = digest
    write_text(output / _SHOWN, json.dumps(found, indent=1))


def collect(folders: Mapping[str, Path], output: Path) -> Result:
    """Copies the files of a finished job.

    Args:
        folders: Output folder of each step, by its key.
        output: Gets result.json, report.html, model.tflite, baseline.tflite and model.keras, and
            model.packed where the model has one, translator.tflite and sentencepiece.model where it
            translates, and a search's files where there was one.

    Returns:
        The figures of the job.
    """
    if SEARCH in folders:
        collect_search(folders[SEARCH], output)
    else:
        _show({}, output, _is_of_a_search)
    last = next(key for key in reversed(list(folders)) if (folders[key] / MODEL_FILE).is_file())
    return collect_files(
        output,
        model=folders[last],
        baseline=folders[BASELINE],
        litert=folders[RESULT],
        report=folders[REPORTED] / REPORT_FILE,
        result=folders[REPORTED] / RESULT_FILE,
    )


def collect_search(found: Path, output: Path) -> SearchFacts:
    """Copies the files of a search that has ended.

    Args:
        found: The output folder of the step that searched.
        output: Gets ratios.yaml, trials.csv, search.json and best_so_far.svg; of a search for a front
            the folder front, with the ratios of its points.

    Returns:
        What is known of the search.
    """
    facts = read_document(SearchFacts, found / SEARCH_FILE)
    names = [*OF_A_SEARCH]
    if facts.front is not None:
        names += [f"{FRONT_RATIOS}/{front_file(trial.number)}" for trial in facts.front_trials]
    _show({name: found / name for name in names}, output, _is_of_a_search)
    return facts


def collect_files(
    output: Path, *, model: Path, baseline: Path, litert: Path, report: Path, result: Path
) -> Result:
    """Copies the files of a finished job from the folders and files that hold them.

    Returns:
        The figures of the job.
    """
    perhaps = (model / PACKED_FILE, litert / TRANSLATOR_FILE, litert / TOKENIZER_FILE)
    files = {source.name: source for source in perhaps if source.is_file()} | {
        MODEL_FILE: model / MODEL_FILE,
        BASELINE_FILE: baseline / LITERT_FILE,
        LITERT_FILE: litert / LITERT_FILE,
        REPORT_FILE: report,
        RESULT_FILE: result,
    }
    _show(files, output, lambda name: name in _PERHAPS)
    return load_result(output / RESULT_FILE)


def _show(files: Mapping[str, Path], output: Path, is_ours: Callable[[str], bool]) -> None:
    """Copies files to an output folder, and removes those of an earlier job that this one has none of.

    What somebody else has put there, or changed, is not removed.

    Args:
        files: The files, by their names in the output folder.
        output: The output folder.
        is_ours: Whether a name is one of those that this call decides.
    """
    shown = _shown(output)
    for name in [name for name in shown if is_ours(name) and name not in files]:
        place, digest = output / name, shown.pop(name)
        if place.is_file() and sha256_of(place) == digest:
            place.unlink()
    with suppress(OSError):
        (output / FRONT_RATIOS).rmdir()
    for name, source in files.items():
        (output / name).parent.mkdir(exist_ok=True)
        with replaced_file(output / name) as aside:
            shutil.copyfile(source, aside)
    shown |= {name: sha256_of(source) for name, source in files.items()}
    write_text(output / _SHOWN, json.dumps(shown, indent=1))


def _shown(output: Path) -> dict[str, str]:
    """The SHA-256 of each file that jobs have put into an output folder, by its name."""
    try:
        found = json.loads((output / _SHOWN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_of_a_search(name: str) -> bool:
    return name in OF_A_SEARCH or PurePosixPath(name).parent.name == FRONT_RATIOS
