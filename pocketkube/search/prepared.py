"""The bundle that all trials of a search open: in this process, in others, and in pods.

A folder of the model, the search, and all that depends on the uncompressed network alone: examples,
scores of channels, ranges of values. It is written whole or not at all, and holds no code.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import ValidationError

from pocketkube import __version__
from pocketkube.bounded.npz import read_npz
from pocketkube.bundle import load_model
from pocketkube.data.batches import calibration_examples, materialize
from pocketkube.data.dataset import Arrays, Dataset
from pocketkube.errors import MachineError, UserError
from pocketkube.files.records import Document, Record, read_document, text_of
from pocketkube.files.whole import replaced_folder, sha256_of, write_text
from pocketkube.graph.budgets import Budget
from pocketkube.graph.cost import profile_model
from pocketkube.graph.cost_model_of import cost_model_of
from pocketkube.graph.file_bytes import FileBytes
from pocketkube.latency_table.budget import Latency
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import pruner_for
from pocketkube.pruning.pruner import BUDGETS, Pruner
from pocketkube.search.calibrated import Ranges, find_ranges
from pocketkube.search.evaluation import TRIALS, Evaluator, Shared, TrialSettings
from pocketkube.search.judging import Judge, Judged, softened_outputs
from pocketkube.search.measured_file import with_measured_file
from pocketkube.search.problem import Problem
from pocketkube.search.ranked import with_ranked
from pocketkube.search.sensitivity import EXAMPLES, measure_losses
from pocketkube.search.space_of import SearchedStages, problem_of, refuse_unreachable
from pocketkube.spec.sections import (
    DatasetSettings,
    Training,
)
from pocketkube.training.task import Task, task_of_config

FACTS, PROBLEM, MODEL = "prepared.json", "problem.json", "model.keras"
UNIT_SCORES, RANGES = "unit_scores.npy", "ranges.npz"
# From a pruner of the model, and examples, to what any cut of it takes.
LatencyOf = Callable[[Pruner, Arrays], Latency]
# From the model and examples to the file that the job would end in, were no channels cut and as many
# bits and zeros chosen as there may be.
FileOf = Callable[[keras.Model, Arrays], bytes]


class _Arrays(Record):
    calibration: tuple[int, int]
    validation: tuple[int, int]
    wanted: int


class PreparedFacts(Document, TrialSettings):
    """What prepared.json holds, beside the settings of trials.

    Attributes:
        stamp: Tells whether the bundle was made from the same things.
        task: The task, as `Task.config` has it.
        whole: Score, loss and distance of the uncompressed network.
        arrays: How many arrays there are of inputs and labels.
        sha256: Of each other file, by its name.
    """

    schema_version: int = 1
    stamp: str
    task: dict[str, Any]
    whole: tuple[float, float, float]
    arrays: _Arrays
    sha256: dict[str, str]


def prepare_search(
    model: keras.Model,
    dataset: Dataset,
    task: Task,
    searched: SearchedStages,
    folder: Path,
    *,
    uncompressed: keras.Model | None = None,
    latency_of: LatencyOf | None = None,
    file_of: FileOf | None = None,
    training: Training | None = None,
    dataset_settings: DatasetSettings | None = None,
    seed: int = 0,
    with_losses: bool = True,
) -> Problem:
    """Writes the bundle that trials of a search open, or leaves it where nothing has changed.

    Args:
        model: The trained model that is compressed.
        dataset: Training examples to calibrate on, and validation examples, which score trials.
        task: The score.
        searched: What is searched.
        folder: Where the bundle goes.
        uncompressed: The model from which a target counts; `model` if None.
        latency_of: The latency of any cut, where that is the budget.
        file_of: The file, where its bytes are the budget; what it takes beside its weights is then
            measured on one, and else estimated.
        training: How trials are fine-tuned, where they are.
        dataset_settings: Where trials find the examples to fine-tune on.
        seed: All that is random follows from it.
        with_losses: Whether each decision is measured alone, for what samplers foresee. That takes as
            long as some dozens of trials. Each is kept beside the bundle: where it was interrupted, or
            the bundle is gone, it goes on.

    Returns:
        The search.

    Raises:
        UserError: If there is nothing to search, or the target cannot be reached.
    """
    evaluate = searched.search.evaluate
    calibration = calibration_examples(dataset, evaluate.calibration_examples, seed)
    validation = materialize(dataset.validation, evaluate.examples, seed)
    training = training or Training()
    told: tuple[str, ...] = (
        searched.search.model_dump_json(include={"over", "tie", "mean_bits", "front", "evaluate"}),
    )
    told += tuple(stage.model_dump_json() for stage in searched.stages)
    told += ("" if searched.target is None else searched.target.model_dump_json(),)
    told += (training.model_dump_json(), str(seed), json.dumps(task.config))
    stamp = _stamp([model, uncompressed or model], told, [*calibration, *validation])
    if (known := _prepared_before(folder, stamp)) is not None:
        return known
    examples = Calibration(*calibration, loss=task.loss)
    pruner = None
    if searched.prune is not None:
        pruner = pruner_for(model, searched.prune, calibration=examples, seed=seed)
    network = cost_model_of(model) if pruner is None else pruner.costs
    whole = profile_model(uncompressed or model)
    latency = None
    if pruner is not None and latency_of is not None:
        latency = latency_of(pruner, calibration[0])
    problem = problem_of(model, network, searched, whole=whole, latency=latency)
    if file_of is not None:
        problem = with_measured_file(problem, file_of(model, calibration[0]))
    refuse_unreachable(problem)
    if pruner is not None and searched.search.over == ("prune_channels",) and problem.front is None:
        counts = pruner.counts_for_budget(_spent(problem), problem.limit.most)
        problem = with_ranked(problem, counts)
    ranges = None
    if searched.quantize is not None and not (searched.prune or searched.sparsify):
        ranges = find_ranges(model, searched.quantize, calibration[0], seed)
    wanted = softened_outputs(model, task, validation[0])
    shared = Shared(
        model=model,
        task=task,
        problem=problem,
        settings=TrialSettings(
            prune=searched.prune,
            sparsify=searched.sparsify,
            quantize=searched.quantize,
            training=training,
            fine_tune_steps=searched.search.fine_tune_steps,
            dataset=dataset_settings if searched.search.fine_tune_steps else None,
            seed=seed,
        ),
        calibration=calibration,
        validation=validation,
        wanted=wanted,
        whole=Judge(model, task, validation, wanted)(),
        unit_scores=np.empty(0) if pruner is None else pruner.scores,
        ranges=ranges,
    )
    if not with_losses:
        _write(folder, shared, stamp)
        return problem
    journal = folder.with_name(f".{folder.name}.sensitivity")
    evaluator = Evaluator(shared)

    def distance(choice: tuple[int, ...]) -> float:
        return evaluator.judged(choice, EXAMPLES).distance

    losses = measure_losses(problem, distance, journal, stamp)
    shared = replace(shared, problem=replace(problem, losses=losses))
    _write(folder, shared, stamp)
    return shared.problem


def _spent(problem: Problem) -> Budget:
    """What the limit of a search for channels counts, as the stage counts it."""
    if problem.limit.cost == "latency":
        assert problem.latency is not None
        return problem.latency
    if problem.limit.cost == "bytes":
        return FileBytes(problem.network, problem.file)
    return BUDGETS[problem.limit.cost](problem.network)


def open_prepared(folder: Path, *, remembers: bool = True) -> Evaluator:
    """Opens a bundle that `prepare` wrote.

    Args:
        folder: The bundle.
        remembers: Whether what comes of trials is written beside it, and read from there. Not where
            nothing may be written into the folder.

    Raises:
        UserError: If it is none, damaged, or of another version.
    """
    facts = read_document(PreparedFacts, folder / FACTS)
    for name, known in facts.sha256.items():
        file = folder / name
        if not file.is_file() or sha256_of(file) != known:
            what = "changed" if file.is_file() else "missing"
            raise UserError(
                f"{folder} is damaged: its file {name} is {what}; remove the folder, and prepare the "
                "search anew."
            )
    problem = Problem.from_json((folder / PROBLEM).read_text("utf-8"))
    shared = Shared(
        model=load_model(folder / MODEL),
        task=task_of_config(facts.task),
        problem=problem,
        settings=facts,
        calibration=_load_pair(folder, "calibration", facts.arrays.calibration),
        validation=_load_pair(folder, "validation", facts.arrays.validation),
        wanted=_load_arrays(folder, "wanted", facts.arrays.wanted),
        whole=Judged(*facts.whole),
        unit_scores=np.load(folder / UNIT_SCORES, allow_pickle=False),
        ranges=_load_ranges(folder / RANGES),
    )
    return Evaluator(shared, folder / TRIALS if remembers else None)


def _prepared_before(folder: Path, stamp: str) -> Problem | None:
    if not (folder / FACTS).is_file():
        return None
    try:
        if read_document(PreparedFacts, folder / FACTS).stamp != stamp:
            return None
        return open_prepared(folder).problem
    except MachineError:
        raise
    except (UserError, ValidationError):
        # It is written anew.
        return None


def _write(folder: Path, shared: Shared, stamp: str) -> None:
    with replaced_folder(folder) as aside:
        shared.model.save(aside / MODEL)
        write_text(aside / PROBLEM, shared.problem.to_json())
        _save_arrays(aside, shared.calibration, shared.validation, shared.wanted)
        np.save(aside / UNIT_SCORES, shared.unit_scores)
        if shared.ranges is not None:
            _save_ranges(aside / RANGES, shared.ranges)
        facts = PreparedFacts(
            **dict(shared.settings),
            stamp=stamp,
            task=shared.task.config,
            whole=(shared.whole.score, shared.whole.loss, shared.whole.distance),
            arrays=_Arrays(
                calibration=_count(shared.calibration),
                validation=_count(shared.validation),
                wanted=len(shared.wanted),
            ),
            sha256={file.name: sha256_of(file) for file in sorted(aside.iterdir())},
        )
        write_text(aside / FACTS, text_of(facts))


def _count(examples: tuple[Arrays, Arrays]) -> tuple[int, int]:
    return len(examples[0]), len(examples[1])


def _stamp(models: list[keras.Model], told: tuple[str, ...], examples: list[Arrays]) -> str:
    """Changes with all that the bundle is made from."""
    digest = hashlib.sha256(json.dumps([__version__, *told]).encode())
    for model in models:
        digest.update(model.to_json().encode())
        for weight in model.weights:
            digest.update(np.ascontiguousarray(weight).tobytes())
    for arrays in examples:
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save_arrays(
    folder: Path,
    calibration: tuple[Arrays, Arrays],
    validation: tuple[Arrays, Arrays],
    wanted: Arrays,
) -> None:
    for name, (inputs, labels) in (("calibration", calibration), ("validation", validation)):
        for kind, arrays in (("x", inputs), ("y", labels)):
            for number, array in enumerate(arrays):
                np.save(folder / f"{name}_{kind}{number}.npy", array)
    for number, array in enumerate(wanted):
        np.save(folder / f"wanted_{number}.npy", array)


def _load_pair(folder: Path, name: str, counts: tuple[int, int]) -> tuple[Arrays, Arrays]:
    inputs, labels = (
        _load_arrays(folder, f"{name}_{kind}", count, "")
        for kind, count in zip("xy", counts, strict=True)
    )
    return inputs, labels


def _load_arrays(folder: Path, name: str, count: int, between: str = "_") -> Arrays:
    """Arrays as they lie in the file: several processes share the memory."""
    return tuple(
        np.load(folder / f"{name}{between}{number}.npy", mmap_mode="r", allow_pickle=False)
        for number in range(count)
    )


def _save_ranges(file: Path, ranges: Ranges) -> None:
    arrays = {f"{name}:{bits}": ends for (name, bits), ends in ranges.kernels.items()}
    with file.open("wb") as opened:
        np.savez(opened, activations=ranges.activations, **arrays)  # type: ignore[arg-type]


def _load_ranges(file: Path) -> Ranges | None:
    if not file.is_file():
        return None
    arrays = read_npz(file)
    activations, kernels = arrays.pop("activations"), {}
    for key, array in arrays.items():
        name, _, bits = key.rpartition(":")
        kernels[name, int(bits)] = array
    return Ranges(activations, kernels)
