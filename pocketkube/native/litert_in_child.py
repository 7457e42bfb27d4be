"""Runs untested LiteRT files in a child process, where a crash does no harm."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pocketkube.bounded.npz import read_npz
from pocketkube.files.whole import temporary_folder
from pocketkube.native.child import Child, ask_or_user_error

_CHILD = Child("pocketkube.native.run_litert")


def outputs_of(content: bytes, inputs: Sequence[np.ndarray], origin: str) -> list[np.ndarray]:
    """Runs a file that was just converted on examples.

    Args:
        content: The file's content.
        inputs: One array `[N, ...]` for each input.
        origin: What messages call the examples.

    Returns:
        One array `[N, ...]` for each output, as floats.

    Raises:
        UserError: If LiteRT cannot load or run it, or crashes on it.
    """
    with temporary_folder() as folder:
        (folder / "model.tflite").write_bytes(content)
        outputs = folder / "outputs.npz"
        _run(folder, folder / "model.tflite", False, 1, inputs, origin, outputs)
        return list(read_npz(outputs).values())


def prove(
    file: Path, threads: int, inputs: Sequence[np.ndarray] | None = None, origin: str = ""
) -> None:
    """Loads a file and runs it on the first of some examples, or on zeros.

    Args:
        file: The file.
        threads: How many threads the kernels may use.
        inputs: One array `[N, ...]` for each input.
        origin: What messages call the examples.

    Raises:
        UserError: If LiteRT cannot load or run it, or crashes on it.
    """
    with temporary_folder() as folder:
        first = None if inputs is None else [array[:1] for array in inputs]
        _run(folder, file.absolute(), True, threads, first, origin, None)


def _run(
    folder: Path,
    file: Path,
    is_named: bool,
    threads: int,
    inputs: Sequence[np.ndarray] | None,
    origin: str,
    outputs: Path | None,
) -> None:
    inputs_file = folder / "inputs.npz"
    if inputs is not None:
        arrays: Any = {f"x{place}": array for place, array in enumerate(inputs)}
        np.savez(inputs_file, **arrays)
    request = {
        "file": str(file),
        "is_named": is_named,
        "threads": threads,
        "inputs": None if inputs is None else str(inputs_file),
        "origin": origin,
        "outputs": None if outputs is None else str(outputs),
    }
    name = str(file) if is_named else "the converted model"
    ask_or_user_error(
        _CHILD,
        request,
        lambda how: (
            f"{name}: LiteRT dies of it, by {how}. It is damaged, or its numbers are beyond LiteRT's "
            "kernels; convert it again, or to other numbers."
        ),
    )
