"""Runs one method in its own environment: `python -m tests.benchmarks.peers.method FOLDER`.

The folder's job.json says what is asked. The converted network has to answer as the original does
before anything is compressed.
"""

import json
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.peers.job import ANSWER, FILE, NETWORK, OUTPUTS, Cannot, Compressed, Job
from tests.benchmarks.peers.metered import metered

# cuDNN's convolutions add up in another order than a processor's.
TOLERANCE = 1e-4 if os.environ.get("CUDA_VISIBLE_DEVICES") == "" else 1e-3


def main(folder: Path) -> None:
    """Compresses, and writes the answer."""
    job = Job.read(folder)
    module = import_module(f"tests.benchmarks.peers.methods.{job.module}")
    facts: dict[str, Any] = {}
    try:
        prepared = module.prepare(job)
        facts["versions"] = {name: version(name) for name in prepared.packages}
        refuse_unequal(prepared.outputs, job.dense_outputs(), "the converted network")
        with metered() as meter:
            compressed = prepared.compress()
        facts |= {f"step_{name}": value for name, value in vars(meter).items()}
        if compressed.seconds is not None:
            facts |= {"step_seconds": compressed.seconds, "step_processor_seconds": None}
        facts |= _written(compressed, folder)
    except Cannot as error:
        facts["cannot"] = str(error)
    (folder / ANSWER).write_text(json.dumps(facts, indent=1))


def refuse_unequal(ours: np.ndarray, theirs: np.ndarray, what: str) -> None:
    """Raises ValueError where outputs differ by more than TOLERANCE, relative to the largest."""
    distance = float(np.max(np.abs(ours - theirs)) / max(1.0, float(np.max(np.abs(theirs)))))
    if not distance <= TOLERANCE:
        raise ValueError(f"{what} answers otherwise than the original: {distance:.2g} apart")


def _written(compressed: Compressed, folder: Path) -> dict[str, Any]:
    if compressed.network is not None:
        assert compressed.outputs is not None
        compressed.network.write(folder / NETWORK)
        np.save(folder / OUTPUTS, compressed.outputs)
    if compressed.file is not None:
        (folder / FILE).write_bytes(compressed.file)
    return {
        "trained": compressed.trained,
        "mean_bits": compressed.mean_bits,
        "notes": list(compressed.notes),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
