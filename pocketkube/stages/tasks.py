"""Settles what a job's model is to learn, before anything is trained."""

from collections.abc import Mapping
from dataclasses import replace

import keras

from pocketkube.data.dataset import Dataset, Labels
from pocketkube.errors import UserError
from pocketkube.extension import tasks
from pocketkube.keras_private import mask_of
from pocketkube.measures import Classes, Maps, MultiLabel, Points, Values, label_places
from pocketkube.spec.sections import AddedTask, TaskSettings, Training
from pocketkube.stages.class_weights import with_class_weights
from pocketkube.stages.configs import Learning, NetworkConfig
from pocketkube.stages.fitting import refuse_other_inputs, refuse_other_labels
from pocketkube.training.class_heads import TAKE_ROWS, ClassHead
from pocketkube.training.compiled import is_compiled
from pocketkube.training.head import Head, keras_loss
from pocketkube.training.heads import HEADS
from pocketkube.training.label_kinds import LabelKind
from pocketkube.training.task import Task, infer_task, landmark_task

TAKEN_FOR = {
    Values.kind: "values, not logits of classes",
    MultiLabel.kind: "labels of which an example may have several, not values",
}


def settled_task(
    config: NetworkConfig | Learning,
    model: keras.Model,
    dataset: Dataset,
    known: Task | None = None,
) -> Task:
    """The task that the spec names, or else that of the model and its labels.

    Where a data set has no labels, the task is to answer as the model itself does; where what another
    model answers stands in for them, it is to answer as that one does.

    Args:
        config: The stage's, or how a model is trained on.
        model: The uncompressed model.
        dataset: Its examples; all labels are looked at where the spec names a task.
        known: The task that the model was trained for before, which goes on, but for weights of classes
            that are told anew.

    Raises:
        UserError: If model, labels and task do not fit each other, or what is asked for takes labels
            and there are none.
    """
    refuse_other_inputs(dataset, model)
    if not dataset.is_labelled:
        _refuse_without_labels(config, dataset)
        task = _task_of_answers(config, model, dataset)
        return known if known is not None and known.to_original else task
    if known is None or known.to_original:
        task = _task(config, model, dataset)
    else:
        task = known
        _refuse_unknown_labels(config.training, task, dataset)
    refuse_other_labels(dataset, model, task)
    task = with_class_weights(task, config.training.class_weights, model, dataset)
    # The losses of training examples are multiplied by their weights, as by Keras's `fit`.
    return replace(task, weighted=len(dataset.labels) if dataset.is_weighted else None)


def _task(config: NetworkConfig | Learning, model: keras.Model, dataset: Dataset) -> Task:
    if config.task is not None and config.task.added is not None:
        return _added_task(config.task.added, model, dataset)
    if config.task is None or config.task.landmarks is None:
        task = infer_task(model, *dataset.labels, named=_named(config.task))
        _refuse_unknown_labels(config.training, task, dataset)
        return task
    if len(model.outputs) != 1 or len(dataset.labels) != 1:
        raise UserError(
            f"task: landmarks are one array of points from one output; {dataset.name} has "
            f"{len(dataset.labels)} and {model.name} has {len(model.outputs)}."
        )
    if dataset.labels[0].num_classes is not None and dataset.labels[0].shape == ():
        raise UserError(
            f"task: landmarks are floats, [N, K, 2] or [N, 2K], but the labels of {dataset.name} are "
            "class numbers."
        )
    return landmark_task(model, Points(config.task.landmarks.normalize_by))


def presumed(config: NetworkConfig, model: keras.Model, task: Task) -> list[str]:
    """A sentence for each output of which nothing but its end tells what it is, for want of labels.

    Args:
        config: The stage's.
        model: The uncompressed model.
        task: What its outputs were taken for.
    """
    if not task.to_original or config.task is not None or is_compiled(model):
        return []
    found = []
    for head, output in zip(task.heads, model.outputs, strict=True):
        several = len(output.shape) > 1 and output.shape[-1] != 1
        if several and head.kind in TAKEN_FOR:
            found.append(
                f"Output {head.name} is taken for {TAKEN_FOR[head.kind]}, by how it ends: say by task, "
                "or compile the model with its loss, where that is something else."
            )
    return found


def padded(model: keras.Model, task: Task) -> list[str]:
    """A sentence for each output whose padding counts in its score, as Keras's masks end at losses.

    Args:
        model: The model.
        task: What its outputs are.
    """
    return [
        f"Output {head.name} has a mask, and its score counts padding, too: give padding a label of "
        "its own, and say task: {classification: {ignore_class: that label}}."
        for head, output in zip(task.heads, model.outputs, strict=True)
        if len(output.shape) > 2
        and mask_of(output) is not None
        and isinstance(head, ClassHead)
        and head.measure.ignore is None
    ]


def _task_of_answers(config: NetworkConfig | Learning, model: keras.Model, dataset: Dataset) -> Task:
    """The task of a model that is to answer as itself, or as another model does."""
    if config.task is not None and config.task.landmarks is not None:
        task = landmark_task(model, Points(config.task.landmarks.normalize_by))
    else:
        task = infer_task(model, *dataset.labels, named=_named(config.task))
    return task if task.to_original else task.with_answers()


def _refuse_without_labels(config: NetworkConfig | Learning, dataset: Dataset) -> None:
    """Says when what is asked for takes labels."""
    if config.task is not None and config.task.added is not None:
        (name,) = config.task.added
        raise UserError(
            f"task: {name} is judged by labels, of which {dataset.name} has none; leave task out to be "
            "judged by the original model's answers, or give labels."
        )
    for setting, advice in (
        ("class_weights", "leave it out: the original model's answers count all alike"),
        ("label_smoothing", "leave it out: distillation.temperature softens what teachers say"),
    ):
        if getattr(config.training, setting):
            raise UserError(
                f"training: {setting} is for labels, of which {dataset.name} has none; {advice}."
            )


def _named(settings: TaskSettings | None) -> LabelKind | None:
    """What the spec says that labels are."""
    for kind in (Classes.kind, Maps.kind, MultiLabel.kind, Values.kind):
        given = getattr(settings, kind, None)
        if given is not None:
            return LabelKind(kind, getattr(given, "ignore_class", None))
    return None


def _added_task(added: Mapping[str, AddedTask], model: keras.Model, dataset: Dataset) -> Task:
    ((name, settings),) = added.items()
    task = settings.task(model, dataset)
    if not isinstance(task, Task) or {head.kind for head in task.heads} - {name, *HEADS}:
        raise UserError(
            f"The task {name} of {tasks.origin(name).who} has to give a pocketkube.training.task.Task "
            f"whose heads are of the kind {name}."
        )
    return task


def _refuse_mixed(head: Head, labels: Labels, *, is_class: bool) -> None:
    """Says when labels cannot be mixed: integers become rows, and floats are averaged."""
    are_integers = labels.num_classes is not None and not labels.rows
    advice = ""
    if isinstance(head, ClassHead) and is_class:
        if head.measure.ignore is not None:
            advice = f"where the label {head.measure.ignore} does not count; leave it out"
        elif not are_integers and not labels.rows and labels.whole and head.measure.cut is None:
            advice = "of class numbers that are floats; save them as integers"
    elif are_integers:
        advice = "of values that are integers; save them as floats"
    if advice:
        raise UserError(
            f"training: augmentation.mixup does not mix labels of output {head.name} {advice}."
        )


def _refuse_unknown_labels(training: Training, task: Task, dataset: Dataset) -> None:
    """Says when labels would become rows, and a loss of the user's own is known to take numbers."""
    changing = {
        "label_smoothing": training.label_smoothing,
        "augmentation.mixup": training.augmentation.mixup,
    }
    numbers = [not kind.rows and kind.num_classes is not None for kind in dataset.labels]
    scored = [head.loss is not None for head in task.heads]
    places = label_places(scored, len(numbers), dataset.name, "the model")
    for head, place in zip(task.trained, places, strict=True):
        assert head.loss is not None
        makes_rows = keras_loss(head.loss) in (*TAKE_ROWS, "sparse_categorical_crossentropy")
        is_class = isinstance(head, ClassHead) and head.kind != MultiLabel.kind
        if training.augmentation.mixup:
            _refuse_mixed(head, dataset.labels[place], is_class=is_class)
        if not numbers[place] or makes_rows or not is_class:
            continue
        for setting, value in changing.items():
            if value:
                raise UserError(
                    f"training: {setting} makes rows of class numbers, but the loss {head.loss.name} "
                    f"of output {head.name} takes numbers; leave it out, or give one-hot rows."
                )
