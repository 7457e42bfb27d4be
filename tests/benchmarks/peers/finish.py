"""Turns a method's answer into figures: `python -m tests.benchmarks.peers.finish FOLDER`.

Networks of all methods are rebuilt in Keras, held against what they answered in their own framework,
and fine-tuned by the same code; files are scored by the same interpreter.
"""

import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import pocketkube as pk
from pocketkube.errors import UserError
from pocketkube.files.whole import write_text
from pocketkube.litert.running import LiteRTModel
from tests.benchmarks.peers import in_keras
from tests.benchmarks.peers.arrays import Arrays, accuracy
from tests.benchmarks.peers.job import (
    ANSWER,
    DENSE_MODEL,
    FILE,
    NETWORK,
    OUTPUTS,
    PROBES,
    Job,
)
from tests.benchmarks.peers.method import refuse_unequal
from tests.benchmarks.peers.plain_network import PlainNetwork
from tests.benchmarks.peers.result import RESULT, CaseResult
from tests.benchmarks.peers.splits import splits_of


def main(folder: Path) -> None:
    """Writes the result."""
    facts = json.loads((folder / ANSWER).read_text())
    facts.setdefault("versions", {})
    if "cannot" not in facts:
        job = Job.read(folder)
        facts |= _of_network(job, facts["trained"]) if (folder / NETWORK).exists() else {}
        try:
            facts |= _of_file(job)
        except UserError as error:
            facts["cannot"] = f"LiteRT: {error}".rstrip(".")
    result = CaseResult.model_validate({"schema_version": 1, **facts})
    write_text(folder / RESULT, result.model_dump_json(indent=1))


def _of_network(job: Job, is_trained: bool) -> dict[str, Any]:
    """Fine-tunes the network where its method has not trained it, and writes its file."""
    arrays = job.arrays()
    model = in_keras.built(PlainNetwork.read(job.folder / NETWORK), keras)
    answered = np.load(job.folder / OUTPUTS)
    refuse_unequal(
        model.predict(arrays.test.images[:PROBES], verbose=0), answered, "the network, rebuilt,"
    )
    costs = pk.profile(model)
    facts: dict[str, Any] = {"macs": costs.macs, "parameters": costs.parameters, "zeros": _zeros(model)}
    if not is_trained:
        facts["score_before"] = _score(model, arrays)
        began = time.perf_counter()
        teacher = keras.models.load_model(job.dense / DENSE_MODEL)
        tuned = pk.fine_tune(
            model,
            splits_of(arrays),
            teacher=teacher,
            epochs=job.budget.epochs,
            training=job.budget.training(job.budget.epochs),
            seed=job.seed,
        )
        model, facts["trained"] = tuned.model, True
        facts["train_seconds"] = time.perf_counter() - began
    pk.export(model, job.folder / FILE, arrays.validation.images[:256])
    return facts


def _of_file(job: Job) -> dict[str, Any]:
    """Sizes, and the accuracy that the interpreter reaches."""
    file, test = job.folder / FILE, job.arrays().test
    content = file.read_bytes()
    logits = np.concatenate([outputs[0] for outputs in LiteRTModel(file).predict([test.images])])
    return {
        "score": accuracy(logits, test.labels),
        "file_bytes": len(content),
        "gzip_bytes": len(gzip.compress(content, mtime=0)),
    }


def _score(model: keras.Model, arrays: Arrays) -> float:
    return accuracy(model.predict(arrays.test.images, verbose=0), arrays.test.labels)


def _zeros(model: keras.Model) -> float:
    kernels = [np.asarray(w) for w in model.trainable_weights if len(w.shape) > 1]
    return sum(int((w == 0).sum()) for w in kernels) / sum(w.size for w in kernels)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
