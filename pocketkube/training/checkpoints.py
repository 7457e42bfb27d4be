"""Checkpoints of a course of training: whole or absent, and only ever continued by the same course."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pocketkube.files.whole import replaced_file
from pocketkube.training.values import assign_all


@dataclass(frozen=True)
class Checkpoint:
    """What is read back of a checkpoint, beside the variables.

    Attributes:
        state: The numbers and lists that were to be remembered.
        arrays: And the arrays.
    """

    state: dict[str, Any]
    arrays: list[np.ndarray]


def save_checkpoint(
    path: Path,
    course: str,
    state: dict[str, Any],
    variables: Sequence[Any],
    remembered: Sequence[np.ndarray],
) -> None:
    """Writes a checkpoint.

    Args:
        path: The .npz file.
        course: What identifies the course of training: its settings and where it started.
        state: Numbers and lists to remember, ready for JSON.
        variables: All variables that training changes.
        remembered: Arrays to remember.
    """
    arrays = {f"v{i}": np.asarray(variable) for i, variable in enumerate(variables)}
    arrays |= {f"k{i}": array for i, array in enumerate(remembered)}
    with replaced_file(path) as aside:
        np.savez(aside, state=json.dumps({"course": course, **state}), **arrays)  # type: ignore[arg-type]


def load_checkpoint(path: Path, course: str, variables: Sequence[Any]) -> Checkpoint | None:
    """Sets `variables` to a checkpoint's values.

    Args:
        path: The .npz file.
        course: What identifies the course of training.
        variables: The variables, in the order in which they were saved.

    Returns:
        What else was saved, or None where there is no checkpoint of this course, or one that is
        damaged, which is said on standard error.

    Raises:
        OSError: If it cannot be read.
        MemoryError: If memory runs out.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            # Before a damaged header asks for more memory than there is.
            if (damaged := file.zip.testzip()) is not None:
                raise BadZipFile(damaged)
            state = json.loads(str(file["state"]))
            if state.pop("course") != course:
                return None
            values = [file[f"v{i}"] for i in range(len(variables))]
            count = sum(name.startswith("k") for name in file.files)
            remembered = [file[f"k{i}"] for i in range(count)]
    except FileNotFoundError:
        return None
    except Exception as error:  # Whatever zipfile and NumPy make of any bytes.
        # It may be whole then.
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise
        print(
            f"{path} is damaged: this training begins anew, not from its checkpoint.",
            file=sys.stderr,
            flush=True,
        )
        return None
    assign_all(variables, values)
    return Checkpoint(state, remembered)
