"""Puts what the user came for at the top of the output folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pocketkube.bundle import MODEL_FILE
from pocketkube.files import replaced_file
from pocketkube.stages.export import LITERT_FILE
from pocketkube.stages.plan import BASELINE, REPORTED, RESULT


def collect(folders: Mapping[str, Path], output: Path) -> dict[str, Any]:
    """Copies the files of a finished job.

    Args:
        folders: Output folder of each step, by its key.
        output: Gets result.json, report.html, model.tflite, baseline.tflite and model.keras.

    Returns:
        The content of result.json.
    """
    last = next(key for key in reversed(folders) if (folders[key] / MODEL_FILE).is_file())
    return collect_files(
        output,
        model=folders[last],
        baseline=folders[BASELINE],
        litert=folders[RESULT],
        report=folders[REPORTED] / "report.html",
        result=folders[REPORTED] / "result.json",
    )


def collect_files(
    output: Path, *, model: Path, baseline: Path, litert: Path, report: Path, result: Path
) -> dict[str, Any]:
    """Copies the files of a finished job from the folders and files that hold them.

    Returns:
        The content of result.json.
    """
    for source, name in (
        (model / MODEL_FILE, MODEL_FILE),
        (baseline / LITERT_FILE, "baseline.tflite"),
        (litert / LITERT_FILE, "model.tflite"),
        (report, "report.html"),
        (result, "result.json"),
    ):
        with replaced_file(output / name) as aside:
            shutil.copyfile(source, aside)
    return dict(json.loads((output / "result.json").read_text("utf-8")))
