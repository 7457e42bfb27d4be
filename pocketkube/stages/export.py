"""The stage that writes a LiteRT file and checks it against its model."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pocketkube.bundle import Bundle, load_bundle
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays, Dataset, Examples
from pocketkube.deploy import check_agreement, convert_litert
from pocketkube.files import replaced_folder, write_text
from pocketkube.layout import FACTS_FILE, LITERT_FILE, SAMPLES_FILE
from pocketkube.spec.schema import Quantize, Spec
from pocketkube.stages.facts import is_sparse, task_of
from pocketkube.stages.formats import number_format

CHECKED, LARGEST_SAMPLES = 1000, 2**30
FLOAT32_AGREEMENT = 0.99


def export_litert(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Writes model.tflite, the test examples to judge it by, and what is known of it."""
    began = time.monotonic()
    quantize = spec.stages[position] if position >= 0 else None
    assert quantize is None or isinstance(quantize, Quantize)
    bundle = load_bundle(inputs["model"])
    dataset = load_dataset(spec.dataset)
    task = task_of(bundle.facts)
    content = _convert(bundle, quantize, dataset, spec.seed)
    test, labels = _test_examples(dataset.test)
    agreement = check_agreement(
        content,
        bundle.model,
        tuple(x[:CHECKED] for x in test),
        quantize.min_agreement if quantize else FLOAT32_AGREEMENT,
        measure=task.measure,
    )
    facts = bundle.facts | {
        "format": number_format(quantize),
        "agreement": asdict(agreement),
        "export": {
            "name": quantize.name if quantize else "export_float32",
            "seconds": time.monotonic() - began,
        },
    }
    with replaced_folder(output) as folder:
        (folder / LITERT_FILE).write_bytes(content)
        arrays = {f"x{i}": x for i, x in enumerate(test)} | {f"y{i}": y for i, y in enumerate(labels)}
        told = json.dumps(bundle.facts["task"])
        np.savez(folder / SAMPLES_FILE, task=told, **arrays)  # type: ignore[arg-type]
        write_text(folder / FACTS_FILE, json.dumps(facts, indent=1))


def _convert(bundle: Bundle, quantize: Quantize | None, dataset: Dataset, seed: int) -> bytes:
    sparse = is_sparse(bundle.facts)
    if quantize is None:
        return convert_litert(bundle.model, "float32", store_sparse=sparse)
    calibration, _ = materialize(dataset.train, quantize.calibration_examples, seed)
    return convert_litert(
        bundle.model,
        number_format(quantize),
        calibration=calibration,
        input_type=quantize.input_type,
        output_type=quantize.output_type,
        store_sparse=sparse,
    )


def _test_examples(test: Examples) -> tuple[Arrays, Arrays]:
    """All test examples, or as many as fit into a gibibyte."""
    (one, _) = materialize(test, 1, 0)
    fitting = LARGEST_SAMPLES // max(sum(x.nbytes for x in one), 1)
    return materialize(test, None if test.size <= fitting else fitting, 0)
