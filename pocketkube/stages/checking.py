"""The stage that tries the conversions that a job ends in, before anything is trained."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import keras

from pocketkube.bundle import Bundle
from pocketkube.console.progress import working
from pocketkube.data import load_dataset
from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Arrays
from pocketkube.files.layout import CHECK_FILE
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.latency_table.another_device import another_device
from pocketkube.native.litert_in_child import outputs_of
from pocketkube.spec.sections import DistillModel
from pocketkube.stages.configs import CheckExportConfig
from pocketkube.stages.examples import some_of
from pocketkube.stages.export import converted
from pocketkube.stages.fitting import refuse_bad_streams
from pocketkube.stages.foreseen import foreseen_file
from pocketkube.stages.formats import file_format, last_format
from pocketkube.stages.networks import network_with_notes
from pocketkube.stages.sizes import at_size_asked, at_size_of
from pocketkube.stages.targets import refuse_drop
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.without_data import random_inputs
from pocketkube.training.answers import answered

# Ranges need not be right, for the file is only loaded and run.
EXAMPLES = 8


def check_export(
    config: CheckExportConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Converts the job's networks as they are, and runs the files on one example.

    Whether networks, labels and task fit each other, and all examples can be read, is seen first.

    A built-in network has the weights that it would be trained from. The last format is tried with all
    that the stages do to numbers: zeros, levels, types of inputs and outputs. Where a student takes the
    model's place, both are tried, the model in the floats that it is compared in. The latency table of
    another device, which the target may name, has to know the file's operations.
    """
    began = time.monotonic()
    if config.dataset.is_none:
        model = network_with_notes("model", config.model, config.width, None, config.seed).model
        model = at_size_asked(config.dataset, model).model
        _try(config, model, random_inputs(model), output, began)
        return
    dataset = load_dataset(config.dataset)
    examples, _ = materialize(dataset.train, EXAMPLES, config.seed)
    model = network_with_notes("model", config.model, config.width, dataset, config.seed).model
    model = at_size_of(dataset, model).model
    task = settled_task(config, model, dataset)
    if config.target:
        refuse_drop(config.target, task)
    refuse_bad_streams(dataset, model, task)
    if not dataset.labels:
        dataset = answered(some_of(dataset, EXAMPLES, config.seed), model, task)
    first = config.stages[0] if config.stages else None
    if isinstance(first, DistillModel):
        with working("convert", to="float32"):
            content = _in_floats(model, examples)
        _run(content, examples)
        student = network_with_notes(
            "student", first.student, first.width, dataset, config.seed + 1, like=model
        )
        model = at_size_of(dataset, student.model).model
        settled_task(config, model, dataset)
    _try(config, model, examples, output, began)


def _try(
    config: CheckExportConfig, model: keras.Model, examples: Arrays, output: Path, began: float
) -> None:
    """Converts the network that the job ends in, runs the file, and writes that it went well."""
    with working("convert", to=last_format(config.stages).numbers):
        content = foreseen_file(config.stages, model, examples)
    if config.target and config.target.latency_table:
        device = another_device(config.target.latency_table)
        device.latency_ms(content, last_format(config.stages).numbers)
    _run(content, examples)
    facts = {
        "format": last_format(config.stages).numbers,
        "uncompressed_bytes": len(content),
        "seconds": time.monotonic() - began,
    }
    with replaced_folder(output) as folder:
        write_text(folder / CHECK_FILE, json.dumps(facts, indent=1))


def _in_floats(model: keras.Model, examples: Arrays) -> bytes:
    return converted(Bundle(model), file_format(None), sparse=False, calibration=lambda _: examples)


def _run(content: bytes, examples: Arrays) -> None:
    outputs_of(content, [array[:1] for array in examples], "The training examples")
