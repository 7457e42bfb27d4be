"""What stages do where a job has no example."""

import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from pocketkube.benchmarking.samples import random_samples
from pocketkube.bundle import Bundle, save_bundle
from pocketkube.data.dataset import Arrays
from pocketkube.graph.untied import untied
from pocketkube.spec.sections.dataset import NONE
from pocketkube.stages.assessment import costs_of, first_facts, stage_facts
from pocketkube.stages.configs import NetworkConfig
from pocketkube.stages.networks import network_with_notes
from pocketkube.stages.plan import first_stage
from pocketkube.stages.sizes import at_size_asked
from pocketkube.training.task import Task, infer_task

NOT_MEASURED = (
    "There are no examples: what the model answers is not looked at, before or after, and no figure "
    "says how right or how like the original the result is."
)


def load_without_data(config: NetworkConfig, output: Path) -> None:
    """Takes a model as it is, and writes its bundle.

    Args:
        config: The stage's.
        output: The folder to write.
    """
    began = time.monotonic()
    came = network_with_notes("model", config.model, config.width, None, config.seed)
    sized = at_size_asked(config.dataset, came.model)
    model = sized.model
    task, found = task_without_data(model), costs_of(model)
    notes = [NOT_MEASURED, *came.notes, *sized.notes, *untied(model)]
    stage = stage_facts(first_stage(config.model), (), task, found, began, notes=notes)
    facts = first_facts(config.model, NONE, task, config.seed, stage, found, sizes=sized.sizes)
    save_bundle(output, Bundle(model, facts))


def task_without_data(model: keras.Model) -> Task:
    """What a model's outputs are, as far as it tells itself."""
    return replace(infer_task(model), description="no examples, and so no score")


def random_inputs(model: keras.Model) -> Arrays:
    """Inputs to run a model on where there are no examples."""
    shapes = tuple(tuple(x.shape) for x in model.inputs)
    return random_samples(shapes, tuple(np.dtype(x.dtype) for x in model.inputs)).inputs
