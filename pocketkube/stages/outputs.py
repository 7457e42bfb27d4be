"""Puts what the user came for at the top of the output folder."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pocketkube.bundle import MODEL_FILE
from pocketkube.files import replaced_file
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
    for source, name in (
        (folders[last] / MODEL_FILE, MODEL_FILE),
        (folders[BASELINE] / "model.tflite", "baseline.tflite"),
        (folders[RESULT] / "model.tflite", "model.tflite"),
        (folders[REPORTED] / "report.html", "report.html"),
        (folders[REPORTED] / "result.json", "result.json"),
    ):
        with replaced_file(output / name) as aside:
            shutil.copyfile(source, aside)
    return dict(json.loads((output / "result.json").read_text("utf-8")))
