"""The stages that train: from scratch, or a compressed model with the uncompressed one as teacher."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import keras

from pocketkube.bundle import NOW, Bundle, load_bundle, save_bundle
from pocketkube.clustering import Clustering
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.graph.untied import untied
from pocketkube.graph.unwrapping import SPECTRAL, spectral_note, unwrapped
from pocketkube.packing import Codebook, Form
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.kernels import count_zeros, depthwise_note
from pocketkube.spec.sections import (
    ClusterWeights,
    DistillModel,
    FineTune,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.spec.spec import Spec
from pocketkube.stages.chance import at_chance
from pocketkube.stages.comparison import UNRECOVERED, worse_by_training
from pocketkube.stages.facts import after_stage, first_facts, is_sparse, judge, task_of
from pocketkube.stages.networks import network
from pocketkube.stages.plan import first_stage
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import lesson_of, load_teachers
from pocketkube.training.loop import train
from pocketkube.training.method import Method
from pocketkube.training.workers import workers

Trained = FineTune | SparsifyWeights | ClusterWeights | QuantizeWeights


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
    notes = untied(model) if history is None else ()
    warnings = at_chance(spec, model, dataset, task)
    facts = after_stage(
        facts,
        first_stage(spec),
        judged,
        began,
        history=history,
        notes=notes,
        warnings=warnings,
    )
    if workers().rank == 0:
        save_bundle(output, Bundle(model, facts, scores={NOW: judged.validation.each}))


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

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        return Begun(student.model, KeptZeros(student.model) if is_sparse(student.facts) else Method())

    train_on(spec, settings, inputs, output, scratch, begin)


def sparsify_weights(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a model while its weights become zero, and writes the sparse one's bundle."""
    settings = spec.stages[position]
    assert isinstance(settings, SparsifyWeights)

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        method = GradualSparsification(student.model, settings)
        return Begun(student.model, method, depthwise_note(student.model))

    train_on(spec, settings, inputs, output, scratch, begin)


def cluster_weights(
    spec: Spec, position: int, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Gives a model's kernels a few values each, and writes the clustered one's bundle."""
    settings = spec.stages[position]
    assert isinstance(settings, ClusterWeights)

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        # That layer sets its weights in each step, and computes with others than the codebooks' then.
        model = unwrapped(student.model, SPECTRAL)
        return Begun(model, Clustering(model, settings), spectral_note(student.model))

    train_on(spec, settings, inputs, output, scratch, begin)


@dataclass(frozen=True)
class Begun:
    """What a stage is about to train.

    Attributes:
        model: The model.
        method: What takes part in its training.
        notes: Sentences for the user.
        renamed: Where it was rebuilt: see `FromTeachers`.
        folded: Layers that others have taken up, by their paths, and the paths of those.
    """

    model: keras.Model
    method: Method
    notes: Sequence[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    folded: Mapping[str, str] = field(default_factory=dict)


def train_on(
    spec: Spec,
    settings: Trained,
    inputs: Mapping[str, Path],
    output: Path,
    scratch: Path,
    begin: Callable[[Bundle, Dataset], Begun],
) -> None:
    """Trains a stage's model with its method and teachers, and writes the bundle of what it becomes.

    Args:
        spec: The job.
        settings: The stage's; with 0 epochs its method finishes without training.
        inputs: Folders of the model and of the uncompressed one.
        output: The folder to write.
        scratch: Folder for checkpoints.
        begin: From the bundle that comes in to what is trained.
    """
    began = time.monotonic()
    dataset = load_dataset(spec.dataset)
    student = load_bundle(inputs["model"])
    task = task_of(student.facts)
    begun, history = begin(student, dataset), None
    course = fine_tuning(spec.training, settings)
    notes: list[str] = []
    if settings.epochs == 0:
        begun.method.finish()
    else:
        teachers = load_teachers(spec, inputs["teacher"], dataset)
        lesson = lesson_of(spec, begun.model, task, teachers, begun.renamed)
        notes += lesson.notes
        history = train(
            begun.model,
            dataset,
            task,
            course,
            seed=spec.seed + 1,
            stage=settings.name,
            lesson=lesson,
            method=begun.method,
            checkpoints=scratch,
        )
    forms = begun.method.forms
    judged = judge(begun.model, dataset, task, forms)
    notes += [*begun.notes, *_zeros(begun.model), *_few_values(forms)]
    warnings = worse_by_training(student, judged, settings, course, task)
    facts = after_stage(
        student.facts, settings.name, judged, began, history=history, notes=notes, warnings=warnings
    )
    facts["folded"] = {**facts.get("folded", {}), **begun.folded}
    scores = {NOW: judged.validation.each}
    if history is None:
        scores = {**student.scores, **scores}
    else:
        facts[UNRECOVERED] = []
    if workers().rank == 0:
        save_bundle(output, Bundle(begun.model, facts, forms, scores))


def _zeros(model: keras.Model) -> list[str]:
    """What part of the kernels is zero, where that is worth a sentence."""
    zeros, total = count_zeros(model)
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


def fine_tuning(training: Training, settings: Trained) -> Training:
    """The course of fine-tuning: training's, for half the epochs where nothing is said."""
    # A folded model has no BatchNorm that would bring its channels back into proportion.
    part = 0.1 if isinstance(settings, QuantizeWeights) else 1.0
    return training.model_copy(
        update={
            "epochs": settings.epochs or max(1, training.epochs // 2),
            "learning_rate": settings.learning_rate or part * training.learning_rate,
        }
    )
