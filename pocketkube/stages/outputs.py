"""Puts what the user came for at the top of the output folder."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pocketkube.errors import UserError
from pocketkube.files.layout import (
    CURVE_FILE,
    FRONT_RATIOS,
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
from pocketkube.files.whole import replaced_file, replaced_folder
from pocketkube.report.result import Result, load_result
from pocketkube.search.facts import SearchFacts
from pocketkube.stages.plan import BASELINE, REPORTED, RESULT, SEARCH

OF_A_SEARCH = (RATIOS_FILE, TRIALS_FILE, SEARCH_FILE, CURVE_FILE)


def refuse_changed_ratios(output: Path) -> None:
    """Says when a person has changed the ratios of the search that an output folder holds.

    Args:
        output: The output folder of the job to come, which searches.

    Raises:
        UserError: If ratios.yaml is not what the search found: nothing reads it there, and the job
            would replace it.
    """
    # Where a job was killed between its search and its end, both are of the search before.
    if _is_found(output, SEARCH_FILE) and _is_found(output, RATIOS_FILE) is False:
        raise UserError(
            f"{output / RATIOS_FILE} was changed, and a spec with search takes what its search finds: "
            "put the numbers into the spec, as in prune_channels: {ratios: …}, and leave search out; "
            "or remove the file."
        )


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
        _forget_search(output)
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
    for name in OF_A_SEARCH:
        with replaced_file(output / name) as aside:
            shutil.copyfile(found / name, aside)
    facts = read_document(SearchFacts, output / SEARCH_FILE)
    if facts.front is None:
        shutil.rmtree(output / FRONT_RATIOS, ignore_errors=True)
    else:
        with replaced_folder(output / FRONT_RATIOS) as folder:
            for trial in facts.front_trials:
                shutil.copyfile(
                    found / FRONT_RATIOS / front_file(trial.number), folder / front_file(trial.number)
                )
    return facts


def _forget_search(output: Path) -> None:
    """Removes what an earlier job's search left, but for what a person has changed since."""
    for name in OF_A_SEARCH:
        if _is_found(output, name):
            (output / name).unlink(missing_ok=True)
    for folder in (output / FRONT_RATIOS, output / STEPS / SEARCH):
        shutil.rmtree(folder, ignore_errors=True)


def _is_found(output: Path, name: str) -> bool | None:
    """Whether a file of a search is as the search wrote it; None where there is none to compare."""
    found, shown = output / STEPS / SEARCH / name, output / name
    if not (found.is_file() and shown.is_file()):
        return None
    return found.read_bytes() == shown.read_bytes()


def collect_files(
    output: Path, *, model: Path, baseline: Path, litert: Path, report: Path, result: Path
) -> Result:
    """Copies the files of a finished job from the folders and files that hold them.

    Returns:
        The figures of the job.
    """
    perhaps = [
        (model / PACKED_FILE, PACKED_FILE),
        (litert / TRANSLATOR_FILE, TRANSLATOR_FILE),
        (litert / TOKENIZER_FILE, TOKENIZER_FILE),
    ]
    for source, name in perhaps:
        if not source.is_file():
            (output / name).unlink(missing_ok=True)
    for source, name in (
        *((source, name) for source, name in perhaps if source.is_file()),
        (model / MODEL_FILE, MODEL_FILE),
        (baseline / LITERT_FILE, "baseline.tflite"),
        (litert / LITERT_FILE, "model.tflite"),
        (report, REPORT_FILE),
        (result, RESULT_FILE),
    ):
        with replaced_file(output / name) as aside:
            shutil.copyfile(source, aside)
    return load_result(output / RESULT_FILE)
