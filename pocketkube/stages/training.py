"""The stages that train: from scratch, or a compressed model with the uncompressed one as teacher."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from pocketkube.bundle import Bundle, load_bundle, save_bundle
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.kernels import kernels
from pocketkube.spec.schema import DistillModel, FineTune, Sparsify, Spec, Training
from pocketkube.stages.facts import after_stage, first_facts, is_sparse, judge, task_of
from pocketkube.stages.networks import network
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import lesson_of, load_teachers
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.workers import workers


def train_model(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a built-in network, or takes a .keras file as it is, and writes its bundle."""
    began = time.monotonic()
    dataset = load_dataset(spec.dataset)
    _refuse_unfit_student(spec, dataset)
    model, history = network("model", spec.model, spec.width, dataset, spec.seed), None
    task = settled_task(spec, model, dataset)
    if not spec.model.endswith(".keras"):
        history = train(
            model, dataset, task, spec.training, seed=spec.seed, stage="train", checkpoints=scratch
        )
    facts = first_facts(spec.model, dataset, task, spec.seed)
    judged = judge(model, dataset, task)
    facts = after_stage(facts, "train_model", judged, began, history=history)
    if workers().rank == 0:
        save_bundle(output, Bundle(model, facts))


def _refuse_unfit_student(spec: Spec, dataset: Dataset) -> None:
    """Says at once what would only come to light once the teacher is trained."""
    for stage in spec.stages:
        if isinstance(stage, DistillModel):
            network("student", stage.student, stage.width, dataset, spec.seed)


def fine_tune_model(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a compressed model on and writes its bundle."""
    settings = spec.stages[position]
    assert isinstance(settings, FineTune)

    def method(student: Bundle) -> Method:
        return KeptZeros(student.model) if is_sparse(student.facts) else Method()

    _train_on(spec, settings, inputs, output, scratch, method)


def sparsify_weights(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a model while its weights become zero, and writes the sparse one's bundle."""
    settings = spec.stages[position]
    assert isinstance(settings, Sparsify)
    _train_on(
        spec,
        settings,
        inputs,
        output,
        scratch,
        lambda student: GradualSparsification(student.model, settings),
    )


def _train_on(
    spec: Spec,
    settings: FineTune | Sparsify,
    inputs: Mapping[str, Path],
    output: Path,
    scratch: Path,
    method_for: Callable[[Bundle], Method],
) -> None:
    began = time.monotonic()
    dataset = load_dataset(spec.dataset)
    student = load_bundle(inputs["model"])
    task = task_of(student.facts)
    lesson = lesson_of(spec, student.model, task, load_teachers(spec, inputs["teacher"], dataset))
    history = train(
        student.model,
        dataset,
        task,
        fine_tuning(spec.training, settings),
        seed=spec.seed + 1,
        stage=settings.name,
        lesson=lesson,
        method=method_for(student),
        checkpoints=scratch,
    )
    judged = judge(student.model, dataset, task)
    notes = [*lesson.notes, *_zeros(student.model)]
    facts = after_stage(student.facts, settings.name, judged, began, history=history, notes=notes)
    if workers().rank == 0:
        save_bundle(output, Bundle(student.model, facts))


def _zeros(model: keras.Model) -> list[str]:
    """What part of the kernels is zero, where that is worth a sentence."""
    found = [np.asarray(kernel) for _, kernel in kernels(model)]
    zeros = sum(int((kernel == 0).sum()) for kernel in found)
    total = sum(kernel.size for kernel in found)
    if not zeros:
        return []
    return [f"{zeros / total:.1%} of the {total} weights of kernels are zero."]


def fine_tuning(training: Training, settings: FineTune | Sparsify) -> Training:
    """The course of fine-tuning: training's, for half the epochs where nothing is said."""
    return training.model_copy(
        update={
            "epochs": settings.epochs or max(1, training.epochs // 2),
            "learning_rate": settings.learning_rate or training.learning_rate,
        }
    )
