"""The one training loop: training from scratch, fine-tuning and every method that trains."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.console.progress import Progress, Silent, progress
from pocketkube.data.batches import batches
from pocketkube.data.dataset import Dataset, Examples
from pocketkube.errors import UserError
from pocketkube.keras_private import flat_layers
from pocketkube.processes.ranks import TOO_LATE
from pocketkube.spec.sections import Training
from pocketkube.structure import take_shorter
from pocketkube.training.course import Course, course_identity
from pocketkube.training.distillation_term import DistillationTerm
from pocketkube.training.evaluation import Judge, evaluate_by, fitting_batch, judge_of
from pocketkube.training.finite import refuse_loss, refuse_weights
from pocketkube.training.history import Epoch, History, OnEpoch
from pocketkube.training.kept_epoch import end_with_kept, finished, keep_if_good
from pocketkube.training.losses import WEIGHTED_MEAN
from pocketkube.training.method import Method
from pocketkube.training.optimizer import build_optimizer
from pocketkube.training.schedules import learning_rate
from pocketkube.training.state import Commits, TrainState, restore, synchronize
from pocketkube.training.step import Step, train_step
from pocketkube.training.task import Task, has_class_weights
from pocketkube.training.workers import (
    SingleProcess,
    TooLate,
    Workers,
    WorkersChanged,
    share_weight,
    started_workers,
)


def train(
    model: keras.Model,
    dataset: Dataset,
    task: Task,
    settings: Training,
    *,
    seed: int,
    stage: str = "train",
    distillation: DistillationTerm | None = None,
    method: Method | None = None,
    checkpoints: Path | None = None,
    on_epoch: OnEpoch | None = None,
    workers: Callable[[], Workers] = started_workers,
) -> History:
    """Trains a model in place.

    It ends with the weights of the epoch that `settings.keep` says: all that judging uses, the average
    of the weights where there is one. The same seed gives the same weights on the same machine. Several
    workers share every batch, and only the first one writes and shows progress. Training that was
    interrupted goes on from its checkpoint's position in the data, with as many workers as there are
    then.

    Args:
        model: The model.
        dataset: Its training examples are trained on, its validation examples judged by.
        task: The loss and the score.
        settings: The course.
        seed: Of the order of examples, of augmentation and of dropout.
        stage: What to call the work in the progress display.
        distillation: What teachers add to the loss.
        method: A compression method that takes part.
        checkpoints: Folder of checkpoints; training goes on from one of this same course.
        on_epoch: Called by the first worker with each epoch's figures; where it returns True, training
            ends with that epoch. It is called again for an epoch that was interrupted before its
            checkpoint was written. Given to all workers or to none.
        workers: Makes the group of processes that share the work; called again where the group changes.

    Returns:
        The course that training took.

    Raises:
        UserError: If there are more workers than examples in a batch, the loss or a weight is no longer
            a number, or mixed precision finds no gradients that are.
    """
    method, distillation = method or Method(), distillation or DistillationTerm()
    if dataset.train.pairs is not None:
        for each in (model, *distillation.teachers):
            take_shorter(each)
    extra = [*method.trained, *distillation.trained]
    optimizer = build_optimizer(model, extra, settings)
    _seed_layers(model, seed)
    identity = course_identity(model, dataset, settings, seed, method, distillation)
    course = Course(
        model,
        dataset,
        task,
        settings,
        seed,
        optimizer,
        method,
        distillation,
        checkpoints,
        identity,
    )
    began = time.monotonic()
    group = _first_group(workers, course)
    state = restore(course) if group.rank == 0 or group.may_change else TrainState()
    commits = Commits(course, state, began)
    with _mixed_precision(model) if settings.mixed_precision else nullcontext():
        while True:
            try:
                with group.failures_as_changes():
                    state = synchronize(course, commits.go_back(), group)
                    commits.remember(state, group)
                    _train(course, state, group, stage, on_epoch, commits)
                break
            except WorkersChanged:
                group = workers()
    figures = {name: tuple(values) for name, values in state.figures.items()}
    earlier = commits.earlier_seconds
    return History(
        **figures,
        seconds=earlier + time.monotonic() - began,
        earlier_seconds=earlier,
        workers=group.size,
        kept_epoch=state.kept_epoch,
    )


def _first_group(workers: Callable[[], Workers], course: Course) -> Workers:
    """The group; this process alone where the others are done with the course, and it can be read."""
    try:
        return workers()
    except TooLate:
        if restore(course).is_complete(course):
            return SingleProcess()
        sys.exit(TOO_LATE)


def _train(
    course: Course,
    state: TrainState,
    workers: Workers,
    stage: str,
    on_epoch: OnEpoch | None,
    commits: Commits,
) -> None:
    """Trains to the end with one group of workers."""
    if state.is_complete(course):
        end_with_kept(course, state, workers)
        return
    _refuse_idle(course, workers)
    _refuse_unfit_weights(course, workers)
    examples = course.distillation.prepared(course.dataset.train, course.settings, workers)
    step = train_step(course, workers)
    judge = judge_of(course.model, course.task, course.method)
    with _shown(stage, course.steps, workers) as shown:
        while not state.is_complete(course):
            began = time.monotonic()
            _train_epoch(course, state, workers, examples, step, shown, commits)
            _average_statistics(course, workers)
            refuse_weights(course.judged, state.step(course), course.settings)
            epoch = _end_epoch(course, state, workers, judge, began)
            if on_epoch is not None:
                stop = workers.rank == 0 and bool(on_epoch(epoch))
                state.stopped = workers.broadcast_object(stop)
            if state.is_complete(course):
                end_with_kept(course, state, workers)
            commits.commit(state, workers)


def _train_epoch(
    course: Course,
    state: TrainState,
    workers: Workers,
    examples: Examples,
    step: Step,
    shown: Progress,
    commits: Commits,
) -> None:
    """Trains from the position in the data to the end of its epoch."""
    settings, optimizer = course.settings, course.optimizer
    left = batches(
        examples,
        course.batch_size,
        epoch_seed=(course.seed, state.epoch),
        augmentation=settings.augmentation,
        rank=workers.rank,
        ranks=workers.size,
        drop_remainder=True,
        skip=state.examples // course.batch_size,
    )
    for inputs, labels in left:
        number = state.step(course)
        optimizer.learning_rate = learning_rate(settings, number, course.steps, course.batch_size)
        course.method.before_step(number, course.steps, optimizer)
        loss, score = step(inputs, labels).numpy().tolist()
        refuse_loss(loss, number, settings)
        state.sums = [state.sums[0] + loss, state.sums[1] + score, state.sums[2] + 1]
        state.examples += course.batch_size
        done = number + 1
        if settings.scales_loss:
            applied = int(optimizer.iterations)
            state.applied.after_step(applied, settings, last=done == course.steps)
        shown.update(done, loss=state.sums[0] / state.sums[2])
        if done % settings.checkpoint_steps == 0 and done % course.steps_per_epoch:
            _average_statistics(course, workers)
            commits.commit(state, workers)


def _average_statistics(course: Course, workers: Workers) -> None:
    """Brings together what each worker has seen of the moving averages in its part of the batches.

    Training itself does not depend on them, and an average of moving averages is the moving average of
    averages: it may be done at any time.
    """
    layers = (course.model, *course.method.layers)
    counted = [v for layer in layers for v in layer.non_trainable_variables]
    moving = [v for v in counted if "moving_" in v.path]
    if not moving or workers.size == 1:
        return
    weight = share_weight(course.batch_size, workers)
    means = workers.average([weight * tf.convert_to_tensor(v) for v in moving])
    for variable, mean in zip(moving, means, strict=True):
        variable.assign(mean)


def _end_epoch(
    course: Course, state: TrainState, workers: Workers, judge: Judge, began: float
) -> Epoch:
    """Judges the model as it would be if training ended here, and keeps it where it is good."""
    with finished(course):
        judged = evaluate_by(
            judge, course.dataset.validation, course.task, workers, fitting_batch(course.model)
        )
        keep_if_good(course, state, judged)
    # In single precision, as the losses are.
    loss, score, steps = np.asarray(state.sums, np.float32)
    epoch = Epoch(
        number=state.epoch + 1,
        epochs=course.settings.epochs,
        loss=float(loss / steps),
        score=float(score / steps),
        val_loss=judged.loss,
        val_score=judged.score,
        learning_rate=float(course.optimizer.learning_rate),
        examples=state.examples,
        seconds=time.monotonic() - began,
        workers=workers.size,
    )
    state.end_epoch(epoch)
    return epoch


def _refuse_idle(course: Course, workers: Workers) -> None:
    size = course.batch_size
    if size >= workers.size:
        return
    if size < course.settings.batch_size:
        raise UserError(
            f"training.workers: {workers.size} is more than the {size} training examples; "
            f"use at most {size}."
        )
    raise UserError(
        f"training.batch_size: {size} cannot be shared by {workers.size} workers; use "
        f"{workers.size} or more."
    )


def _refuse_unfit_weights(course: Course, workers: Workers) -> None:
    """Refuses what a loss cannot be had with that is divided by the sum of a whole batch's weights."""
    task, parts = course.task, course.settings.gradient_accumulation_steps
    if not task.divides_by_weights:
        return
    why = (
        f"where a loss is compiled with reduction='{WEIGHTED_MEAN}' and there are weights of "
        "{}: it is divided by the sum of the whole batch's"
    )
    if task.weighted is not None and any(map(has_class_weights, task.heads)):
        raise UserError(
            f"training.class_weights: have to be left out {why.format('examples')}; multiply each "
            "example's weight by its class's."
        )
    if parts == 1 and workers.size == 1:
        return
    name, count = ("gradient_accumulation_steps", parts) if parts > 1 else ("workers", workers.size)
    raise UserError(
        f"training.{name}: has to be 1 {why.format('examples or classes')}; received {count}. Compile "
        "it with 'sum_over_batch_size' otherwise."
    )


def _seed_layers(model: keras.Model, seed: int) -> None:
    """Gives every layer that draws random numbers a state that follows from the seed alone."""
    for position, variable in enumerate(v for v in model.variables if "seed_generator" in v.path):
        variable.assign(np.array([seed % 2**32, position], "uint32"))


@contextmanager
def _mixed_precision(model: keras.Model) -> Iterator[None]:
    layers = [layer for layer in flat_layers(model, include_self=False) if layer.weights]
    policies = [layer.dtype_policy for layer in layers]
    for layer in layers:
        layer.dtype_policy = "mixed_float16"
    try:
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy


def _shown(stage: str, steps: int, workers: Workers) -> Any:
    return progress(stage, steps) if workers.rank == 0 else nullcontext(Silent())
