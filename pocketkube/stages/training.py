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
from pocketkube.facts import Parent, load_facts
from pocketkube.graph.untied import untied
from pocketkube.graph.unwrapping import SPECTRAL, spectral_note, unwrapped
from pocketkube.packing import Codebook, Form
from pocketkube.sparsity import GradualSparsification, KeptZeros
from pocketkube.sparsity.selection import count_zeros, depthwise_note
from pocketkube.spec.sections import (
    ClusterWeights,
    FineTune,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.stages.chance import at_chance
from pocketkube.stages.comparison import worse_by_training
from pocketkube.stages.configs import (
    ClusterWeightsConfig,
    FineTuneModelConfig,
    QuantizeWeightsConfig,
    SparsifyWeightsConfig,
    TrainModelConfig,
)
from pocketkube.stages.facts import after_stage, assess, first_facts, is_sparse, stage_facts, task_of
from pocketkube.stages.networks import network
from pocketkube.stages.plan import first_stage
from pocketkube.stages.tasks import settled_task
from pocketkube.stages.teaching import distillation_term, load_teachers, teacher_parents, uncompressed
from pocketkube.training.loop import train
from pocketkube.training.method import Method

Trained = FineTune | SparsifyWeights | ClusterWeights | QuantizeWeights
TrainedConfig = (
    FineTuneModelConfig | SparsifyWeightsConfig | ClusterWeightsConfig | QuantizeWeightsConfig
)


def train_model(
    config: TrainModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a built-in network, or takes a .keras file as it is, and writes its bundle."""
    began = time.monotonic()
    dataset = load_dataset(config.dataset)
    model, history = network("model", config.model, config.width, dataset, config.seed), None
    task = settled_task(config, model, dataset)
    if not config.model.endswith(".keras"):
        history = train(
            model, dataset, task, config.training, seed=config.seed, stage="train", checkpoints=scratch
        )
    found = assess(model, dataset, task)
    notes = untied(model) if history is None else ()
    warnings = at_chance(config, model, dataset, task)
    stage = stage_facts(
        first_stage(config.model),
        (),
        task,
        found,
        began,
        history=history,
        notes=notes,
        warnings=warnings,
    )
    facts = first_facts(config.model, dataset, task, config.seed, stage, found)
    save_bundle(output, Bundle(model, facts, scores={NOW: found.validation.each}))


def fine_tune_model(
    config: FineTuneModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a compressed model on and writes its bundle."""

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        return Begun(student.model, KeptZeros(student.model) if is_sparse(student.facts) else Method())

    train_on(config, inputs, output, scratch, begin)


def sparsify_weights(
    config: SparsifyWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a model while its weights become zero, and writes the sparse one's bundle."""

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        method = GradualSparsification(student.model, config.settings)
        return Begun(student.model, method, depthwise_note(student.model))

    train_on(config, inputs, output, scratch, begin)


def cluster_weights(
    config: ClusterWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Gives a model's kernels a few values each, and writes the clustered one's bundle."""

    def begin(student: Bundle, dataset: Dataset) -> Begun:
        # That layer sets its weights in each step, and computes with others than the codebooks' then.
        model = unwrapped(student.model, SPECTRAL)
        return Begun(model, Clustering(model, config.settings), spectral_note(student.model))

    train_on(config, inputs, output, scratch, begin)


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
    config: TrainedConfig,
    inputs: Mapping[str, Path],
    output: Path,
    scratch: Path,
    begin: Callable[[Bundle, Dataset], Begun],
) -> None:
    """Trains a stage's model with its method and teachers, and writes the bundle of what it becomes.

    Args:
        config: The stage's; with 0 epochs its method finishes without training.
        inputs: Folders of the model and of the uncompressed one.
        output: The folder to write.
        scratch: Folder for checkpoints.
        begin: From the bundle that comes in to what is trained.
    """
    began, settings = time.monotonic(), config.settings
    dataset = load_dataset(config.dataset)
    student = load_bundle(inputs["model"])
    task = task_of(student.facts)
    begun, history = begin(student, dataset), None
    course = fine_tuning(config.training, settings)
    notes: list[str] = []
    first = load_facts(uncompressed(inputs))
    parents = [Parent(role="model", stage=student.facts.made_by)]
    if settings.epochs == 0:
        begun.method.finish()
    else:
        teachers = load_teachers(config, uncompressed(inputs), dataset)
        term = distillation_term(config, begun.model, task, teachers, begun.renamed)
        parents += teacher_parents(config, first)
        notes += term.notes
        history = train(
            begun.model,
            dataset,
            task,
            course,
            seed=config.seed + 1,
            stage=settings.name,
            distillation=term,
            method=begun.method,
            checkpoints=scratch,
        )
    forms = begun.method.forms
    found = assess(begun.model, dataset, task, forms)
    notes += [*begun.notes, *_zeros(begun.model), *_few_values(forms)]
    warnings = worse_by_training(student, found, settings, course, task)
    stage = stage_facts(
        settings.name, parents, task, found, began, history=history, notes=notes, warnings=warnings
    )
    facts = after_stage(student.facts, stage, found, first.stages).model_copy(
        update={"folded": {**student.facts.folded, **begun.folded}}
    )
    scores = {NOW: found.validation.each}
    if history is None:
        scores = {**student.scores, **scores}
    else:
        facts = facts.model_copy(update={"unrecovered": ()})
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
