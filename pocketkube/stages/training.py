"""The stages that train: from scratch, or a compressed model with the uncompressed one as teacher."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras

from pocketkube.bundle import NOW, Bundle, load_bundle, save_bundle
from pocketkube.data import load_dataset
from pocketkube.data.dataset import Dataset
from pocketkube.distillation import Teacher
from pocketkube.facts import Parent, load_facts
from pocketkube.graph.untied import untied
from pocketkube.packing import Codebook, Form
from pocketkube.sparsity.selection import count_zeros
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import (
    ClusterWeights,
    FineTune,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.stages.assessment import (
    after_stage,
    assess,
    costs_of,
    first_facts,
    is_sparse,
    stage_facts,
    task_of,
)
from pocketkube.stages.begun import Begun, begin_clustering, begin_fine_tuning, begin_sparsifying
from pocketkube.stages.chance import asked_for, at_chance
from pocketkube.stages.comparison import worse_by_training
from pocketkube.stages.configs import (
    ClusterWeightsConfig,
    FineTuneModelConfig,
    Learning,
    QuantizeWeightsConfig,
    SparsifyWeightsConfig,
    TrainModelConfig,
)
from pocketkube.stages.examples import labelled
from pocketkube.stages.networks import network_with_notes
from pocketkube.stages.plan import first_stage
from pocketkube.stages.searched import with_found
from pocketkube.stages.sizes import at_size_of
from pocketkube.stages.tasks import padded, presumed, settled_task
from pocketkube.stages.teaching import distillation_term, load_teachers, teacher_parents, uncompressed
from pocketkube.stages.value_range import refuse_other_range
from pocketkube.stages.without_data import load_without_data
from pocketkube.training.answers import answered
from pocketkube.training.course import rows_together
from pocketkube.training.history import History
from pocketkube.training.loop import train
from pocketkube.training.task import Task

# From the bundle that comes in and its data, None where there are none, to what is trained.
Begin = Callable[[Bundle, Dataset | None], Begun]
Trained = FineTune | SparsifyWeights | ClusterWeights | QuantizeWeights
TrainedConfig = (
    FineTuneModelConfig | SparsifyWeightsConfig | ClusterWeightsConfig | QuantizeWeightsConfig
)


def train_model(
    config: TrainModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a built-in network, or takes a .keras file as it is, and writes its bundle."""
    if config.dataset.is_none:
        load_without_data(config, output)
        return
    began = time.monotonic()
    dataset = load_dataset(config.dataset)
    came = network_with_notes("model", config.model, config.width, dataset, config.seed)
    sized, history = at_size_of(dataset, came.model), None
    model = sized.model
    task = settled_task(config, model, dataset)
    if not dataset.labels:
        dataset = answered(dataset, model, task)
    if is_model_file(config.model):
        refuse_other_range(model, dataset, task, config.seed, config.model)
    else:
        history = train(
            model, dataset, task, config.training, seed=config.seed, stage="train", checkpoints=scratch
        )
    at_first = at_chance(config, model, dataset, task)
    found = assess(model, dataset, task)
    notes = [
        *came.notes,
        *sized.notes,
        *(untied(model) if history is None else ()),
        *presumed(config, model, task),
    ]
    warnings = [*dataset.left_out, *padded(model, task), *asked_for(config, dataset, at_first)]
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
    facts = first_facts(
        config.model,
        dataset.name,
        task,
        config.seed,
        stage,
        found,
        sizes=sized.sizes,
        skipped=dataset.skipped,
        at_chance=at_first,
    )
    save_bundle(output, Bundle(model, facts, scores={NOW: found.validation.each}))


def fine_tune_model(
    config: FineTuneModelConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a compressed model on and writes its bundle."""

    def begin(student: Bundle, dataset: Dataset | None) -> Begun:
        return begin_fine_tuning(student.model, keeps_zeros=is_sparse(student.facts))

    train_on(config, inputs, output, scratch, begin)


def sparsify_weights(
    config: SparsifyWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Trains a model while its weights become zero, and writes the sparse one's bundle."""

    settings = with_found(config.settings, inputs)

    def begin(student: Bundle, dataset: Dataset | None) -> Begun:
        return begin_sparsifying(student.model, settings)

    train_on(config, inputs, output, scratch, begin)


def cluster_weights(
    config: ClusterWeightsConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Gives a model's kernels a few values each, and writes the clustered one's bundle."""

    def begin(student: Bundle, dataset: Dataset | None) -> Begun:
        return begin_clustering(student.model, config.settings)

    train_on(config, inputs, output, scratch, begin)


def train_on(
    config: TrainedConfig,
    inputs: Mapping[str, Path],
    output: Path,
    scratch: Path,
    begin: Begin,
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
    student = load_bundle(inputs["model"])
    task = task_of(student.facts)
    dataset = None
    # Weights alone say which few values they are to have.
    by_weights = isinstance(settings, ClusterWeights) and settings.epochs == 0
    if not (config.dataset.is_none and by_weights):
        dataset = labelled(load_dataset(config.dataset), task, uncompressed(inputs), student.model)
    begun, history = begin(student, dataset), None
    notes: list[str] = []
    first = load_facts(uncompressed(inputs))
    parents = [Parent(role="model", stage=student.facts.made_by)]
    if dataset is None or settings.epochs == 0:
        begun.method.finish()
    else:
        teachers = load_teachers(config, uncompressed(inputs), dataset)
        parents += teacher_parents(config, first)
        history, notes = train_begun(begun, settings, config, dataset, task, teachers, scratch)
    forms = begun.method.forms
    scored = None if dataset is None else assess(begun.model, dataset, task, forms)
    found = scored or costs_of(begun.model, forms)
    notes += notes_on(begun)
    course = fine_tuning(config.training, settings, begun.method.rate)
    warnings = worse_by_training(student, scored, settings, course, task) if scored else []
    stage = stage_facts(
        settings.name, parents, task, found, began, history=history, notes=notes, warnings=warnings
    )
    facts = after_stage(student.facts, stage, found, first.stages).model_copy(
        update={"folded": {**student.facts.folded, **begun.folded}}
    )
    scores = {NOW: scored.validation.each} if scored else {}
    if history is None:
        scores = {**student.scores, **scores}
    else:
        facts = facts.model_copy(update={"unrecovered": ()})
    save_bundle(output, Bundle(begun.model, facts, forms, scores))


def train_begun(
    begun: Begun,
    settings: Trained,
    learning: Learning,
    dataset: Dataset,
    task: Task,
    teachers: Sequence[Teacher],
    checkpoints: Path | None = None,
) -> tuple[History, list[str]]:
    """Trains what a stage has begun, in place.

    Args:
        begun: The model and its method.
        settings: The stage's.
        learning: How it is trained.
        dataset: Its training and validation examples.
        task: Its loss and score.
        teachers: Its teachers; none for labels alone.
        checkpoints: Folder for checkpoints.

    Returns:
        The course that training took, and notes of the teachers'.
    """
    begun.method.begin(rows_together(learning.training, dataset.train.size))
    term = distillation_term(learning, begun.model, task, teachers, dataset, begun.renamed)
    history = train(
        begun.model,
        dataset,
        task,
        fine_tuning(learning.training, settings, begun.method.rate),
        seed=learning.seed + 1,
        stage=settings.name,
        distillation=term,
        method=begun.method,
        checkpoints=checkpoints,
    )
    return history, list(term.notes)


def notes_on(begun: Begun) -> list[str]:
    """Sentences on what a method has made of its model, once it is finished."""
    return [*begun.notes, *begun.method.notes, *_zeros(begun.model), *_few_values(begun.method.forms)]


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


def fine_tuning(training: Training, settings: Trained, rate: float = 1.0) -> Training:
    """The course of fine-tuning: training's, for half the epochs where nothing is said.

    Args:
        training: The section training.
        settings: The stage's.
        rate: The part of training's rate that suits its method.
    """
    return training.model_copy(
        update={
            "epochs": settings.epochs or max(1, training.epochs // 2),
            "learning_rate": settings.learning_rate or rate * training.learning_rate,
        }
    )
