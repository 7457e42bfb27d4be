"""The stages that train: from scratch, or a compressed model with the uncompressed one as teacher."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from pocketkube.bundle import Bundle, load_bundle, load_model, save_bundle
from pocketkube.clustering import Clustering
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.errors import UserError
from pocketkube.models import build_model
from pocketkube.packing import Codebook, Form
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.kernels import kernels
from pocketkube.spec.schema import Cluster, FineTune, Sparsify, Spec, Training
from pocketkube.stages.facts import after_stage, first_facts, is_sparse, judge, task_of
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.task import infer_task
from pocketkube.training.workers import workers


def train_model(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a built-in network, or takes a .keras file as it is, and writes its bundle."""
    began = time.monotonic()
    dataset = load_dataset(spec.dataset)
    if spec.model.endswith(".keras"):
        model, history = load_model(Path(spec.model)), None
        _check_inputs(spec.model, model, dataset)
        task = infer_task(model, dataset.num_classes)
    else:
        if dataset.num_classes is None or len(dataset.input_shapes) != 1:
            raise UserError(
                f"model: {spec.model} classifies one image; this dataset has other inputs or labels: "
                "give the path of a .keras file."
            )
        model = build_model(
            spec.model, dataset.input_shapes[0], dataset.num_classes, width=spec.width, seed=spec.seed
        )
        task = infer_task(model, dataset.num_classes)
        history = train(
            model, dataset, task, spec.training, seed=spec.seed, stage="train", checkpoints=scratch
        )
    facts = first_facts(spec.model, dataset, task, spec.seed)
    judged = judge(model, dataset, task)
    facts = after_stage(facts, "train_model", judged, began, history=history)
    if workers().rank == 0:
        save_bundle(output, Bundle(model, facts))


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


def cluster_weights(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Gives a model's kernels a few values each, and writes the clustered one's bundle."""
    settings = spec.stages[position]
    assert isinstance(settings, Cluster)
    _train_on(
        spec,
        settings,
        inputs,
        output,
        scratch,
        lambda student: Clustering(student.model, settings),
    )


def _train_on(
    spec: Spec,
    settings: FineTune | Sparsify | Cluster,
    inputs: Mapping[str, Path],
    output: Path,
    scratch: Path,
    method_for: Callable[[Bundle], Method],
) -> None:
    began = time.monotonic()
    dataset = load_dataset(spec.dataset)
    student, teacher = load_bundle(inputs["model"]), load_bundle(inputs["teacher"])
    task = task_of(student.facts)
    method, history = method_for(student), None
    if settings.epochs == 0:
        method.finish()
    else:
        history = train(
            student.model,
            dataset,
            task,
            fine_tuning(spec.training, settings),
            seed=spec.seed + 1,
            stage=settings.name,
            teacher=teacher.model,
            distillation=spec.distillation,
            method=method,
            checkpoints=scratch,
        )
    judged = judge(student.model, dataset, task)
    notes = [*_zeros(student.model), *_few_values(method.forms)]
    facts = after_stage(student.facts, settings.name, judged, began, history=history, notes=notes)
    if workers().rank == 0:
        save_bundle(output, Bundle(student.model, facts, method.forms))


def _zeros(model: keras.Model) -> list[str]:
    """What part of the kernels is zero, where that is worth a sentence."""
    found = [np.asarray(kernel) for _, kernel in kernels(model)]
    zeros = sum(int((kernel == 0).sum()) for kernel in found)
    total = sum(kernel.size for kernel in found)
    if not zeros:
        return []
    return [f"{zeros / total:.1%} of the {total} weights of kernels are zero."]


def _few_values(forms: Mapping[str, Form]) -> list[str]:
    """How many weights are one of how few values, where there are such."""
    books = [form for form in forms.values() if isinstance(form, Codebook)]
    if not books:
        return []
    values = sorted({2**book.bits for book in books})
    few = f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"
    total = sum(book.indices.size for book in books)
    count = sum(len(book.centroids) for book in books)
    return [
        f"{total} weights of kernels are each one of {few} values, from {count} codebooks; a LiteRT "
        "file holds them decoded, model.packed as indices."
    ]


def fine_tuning(training: Training, settings: FineTune | Sparsify | Cluster) -> Training:
    """The course of fine-tuning: training's, for half the epochs where nothing is said."""
    return training.model_copy(
        update={
            "epochs": settings.epochs or max(1, training.epochs // 2),
            "learning_rate": settings.learning_rate or training.learning_rate,
        }
    )


def _check_inputs(name: str, model: object, dataset: Dataset) -> None:
    wanted = tuple(tuple(x.shape[1:]) for x in model.inputs)  # type: ignore[attr-defined]
    for ours, theirs in zip(wanted, dataset.input_shapes, strict=False):
        fits = len(ours) == len(theirs) and all(
            a in (None, b) for a, b in zip(ours, theirs, strict=True)
        )
        if not fits:
            raise UserError(
                f"model: {name} takes inputs of {wanted}, but the dataset's are "
                f"{dataset.input_shapes}: set dataset.image_size, or use the model's own data."
            )
    if len(wanted) != len(dataset.input_shapes):
        raise UserError(
            f"model: {name} has {len(wanted)} inputs, but the dataset has {len(dataset.input_shapes)}."
        )
