"""The one training loop: training from scratch, fine-tuning and every method that trains."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pocketkube.data.batches import batches
from pocketkube.data.dataset import Dataset, Examples
from pocketkube.errors import UserError
from pocketkube.progress import Progress, Silent, progress
from pocketkube.spec.sections import Training
from pocketkube.structure import arranged
from pocketkube.training.checkpoints import load_checkpoint, save_checkpoint
from pocketkube.training.finite import Applied, refuse_loss, refuse_weights
from pocketkube.training.lesson import Lesson
from pocketkube.training.method import Method
from pocketkube.training.schedules import learning_rate
from pocketkube.training.task import Task
from pocketkube.training.workers import Alone, workers


@dataclass(frozen=True)
class Scores:
    """Means over examples.

    Attributes:
        loss: The task's loss.
        score: Its score.
        heads: The score of each head that is trained.
        each: The score of each example, all heads together, in the split's order, `[n]`.
    """

    loss: float
    score: float
    heads: tuple[float, ...]
    each: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class History:
    """A course of training, an entry for each epoch.

    Attributes:
        loss: Loss on the training examples, teachers' terms included.
        score: Score on them as they were trained on, augmented.
        val_loss: Loss on the validation examples.
        val_score: Score on them.
        learning_rate: The rate at the end of the epoch.
        seconds: How long training took, resumed parts not counted.
        workers: How many processes shared it.
        kept_epoch: The epoch whose weights the model has, from 1.
    """

    loss: tuple[float, ...] = ()
    score: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    val_score: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    seconds: float = 0.0
    workers: int = 1
    kept_epoch: int = 0


@dataclass
class _Course:
    """Where training stands.

    Attributes:
        step: Steps done.
        applied: How many of them changed the weights, with mixed precision.
        sums: Of loss, score and steps in this epoch.
        kept_epoch: The epoch whose weights are kept, from 1; 0 where there is none yet.
        kept_score: Its validation score.
        epochs: Figures of each epoch.
    """

    step: int = 0
    applied: Applied = field(default_factory=Applied)
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    kept_epoch: int = 0
    kept_score: float = float("-inf")
    epochs: dict[str, list[float]] = field(
        default_factory=lambda: {
            name: [] for name in ("loss", "score", "val_loss", "val_score", "learning_rate")
        }
    )


@dataclass(frozen=True)
class _Plan:
    """What stays as it is while a course is trained; `batch` counts examples over all ranks."""

    model: keras.Model
    dataset: Dataset
    settings: Training
    seed: int
    batch: int
    ranks: Alone
    optimizer: Any
    method: Method
    lesson: Lesson
    file: Path | None
    identity: str
    # The arrays of the epoch that is kept, on the first rank alone.
    kept: list[np.ndarray] = field(default_factory=list)

    @property
    def steps_per_epoch(self) -> int:
        return self.dataset.train.size // self.batch

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.settings.epochs

    @property
    def trained(self) -> list[Any]:
        return _trained(self.model, self.method, self.lesson)

    @property
    def judged(self) -> list[Any]:
        """All that the validation score depends on."""
        return [*self.model.variables, *self.method.trained, *self.method.variables]

    @property
    def variables(self) -> list[Any]:
        return [
            *self.model.variables,
            *self.optimizer.variables,
            *self.method.trained,
            *self.method.variables,
            *self.lesson.trained,
        ]


def train(
    model: keras.Model,
    dataset: Dataset,
    task: Task,
    settings: Training,
    *,
    seed: int,
    stage: str = "train",
    lesson: Lesson | None = None,
    method: Method | None = None,
    checkpoints: Path | None = None,
) -> History:
    """Trains a model in place.

    It ends with the weights of the epoch that `settings.keep` says: all that judging uses, the average
    of the weights where there is one. The same seed gives the same weights on the same machine. Where
    mpirun started several processes, they share every batch, and only the first one writes and shows
    progress.

    Args:
        model: The model.
        dataset: Its training examples are trained on, its validation examples judged by.
        task: The loss and the score.
        settings: The course.
        seed: Of the order of examples, of augmentation and of dropout.
        stage: What to call the work in the progress display.
        lesson: What teachers add to the loss.
        method: A compression method that takes part.
        checkpoints: Folder of this course's checkpoint; with one there, training goes on from it.

    Returns:
        The course that training took.

    Raises:
        UserError: If the batch cannot be shared evenly, the loss or a weight is no longer a number, or
            mixed precision finds no gradients that are.
    """
    ranks = workers()
    method, lesson = method or Method(), lesson or Lesson()
    optimizer = _optimizer(model, method, lesson, settings)
    _seed_layers(model, seed)
    plan = _Plan(
        model,
        replace(dataset, train=lesson.prepared(dataset.train, settings, ranks)),
        settings,
        seed,
        _batch_size(settings.batch_size, dataset.train.size, ranks.size),
        ranks,
        optimizer,
        method,
        lesson,
        checkpoints / "checkpoint.npz" if checkpoints else None,
        _identity(model, settings, seed, method, lesson),
    )
    course = _resume(plan)
    ranks.broadcast(plan.variables)
    if course.step == plan.steps:
        # Weights of a finished course are read back, but not what the method found in finishing it.
        method.finish()
    policies = _use_mixed_precision(model) if settings.mixed_precision else []
    run_step = _train_step(plan, task)
    judge = _judge(model, task, method)
    began = time.monotonic()
    try:
        with _shown(stage, plan.steps, ranks) as shown:
            while course.step < plan.steps:
                _epoch(plan, course, run_step, shown)
                _average_statistics(plan)
                refuse_weights(plan.judged, course.step, settings)
                _end_epoch(plan, course, judge)
                if course.step == plan.steps:
                    _end_with_kept(plan, course)
                _save(plan, course)
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy
    epochs = {name: tuple(values) for name, values in course.epochs.items()}
    seconds = time.monotonic() - began
    return History(**epochs, seconds=seconds, workers=ranks.size, kept_epoch=course.kept_epoch)


def evaluate(model: keras.Model, examples: Examples, task: Task, batch_size: int = 256) -> Scores:
    """Judges a model in inference mode, over all ranks where there are several.

    Args:
        model: The model.
        examples: What it is judged on.
        task: The loss and the score.
        batch_size: Examples at a time, over all ranks.

    Returns:
        Means over all examples.
    """
    return evaluate_all(model, [examples], task, batch_size)[0]


def evaluate_all(
    model: keras.Model, splits: Sequence[Examples], task: Task, batch_size: int = 256
) -> list[Scores]:
    """The same for several splits; the model is traced once for all."""
    judge = _judge(model, task, Method())
    return [_evaluate(judge, examples, batch_size, workers()) for examples in splits]


Judge = Callable[[Any, Any], tf.Tensor]


def _judge(model: keras.Model, task: Task, method: Method) -> Judge:
    """From a batch to loss, score and each head's score of each example, `[2 + heads, batch]`."""

    @tf.function(reduce_retracing=True)
    def judge(inputs: Any, labels: Any) -> tf.Tensor:
        outputs, _ = _call(model, inputs, method, training=False)
        loss, score = task.loss(labels, outputs), task.score(labels, outputs)
        return tf.stack([loss, score, *tf.unstack(task.scores(labels, outputs), axis=1)])

    return judge


def _evaluate(judge: Judge, examples: Examples, batch_size: int, ranks: Alone) -> Scores:
    figures = np.zeros((0, examples.size))
    for number, (inputs, labels) in enumerate(
        batches(examples, batch_size, rank=ranks.rank, ranks=ranks.size)
    ):
        found = judge(inputs, labels).numpy()
        if not number:
            figures = np.zeros((len(found), examples.size))
        # Each rank has every so many rows of a batch.
        own = slice(number * batch_size + ranks.rank, (number + 1) * batch_size, ranks.size)
        figures[:, own] = found
    figures = np.asarray(ranks.total(tf.constant(figures)))
    loss, score, *heads = figures.mean(axis=1).tolist()
    return Scores(loss, score, tuple(heads), figures[1].astype(np.float32))


def _epoch(
    plan: _Plan, course: _Course, run_step: Callable[[Any, Any], tf.Tensor], shown: Progress
) -> None:
    """Trains to the end of the epoch that the course stands in."""
    settings = plan.settings
    epoch, done = divmod(course.step, plan.steps_per_epoch)
    examples = batches(
        plan.dataset.train,
        plan.batch,
        epoch_seed=(plan.seed, epoch),
        augmentation=settings.augmentation,
        rank=plan.ranks.rank,
        ranks=plan.ranks.size,
        drop_remainder=True,
        skip=done,
    )
    for inputs, labels in examples:
        plan.optimizer.learning_rate = learning_rate(settings, course.step, plan.steps)
        plan.method.before_step(course.step, plan.steps, plan.optimizer)
        loss, score = run_step(inputs, labels).numpy().tolist()
        refuse_loss(loss, course.step, settings)
        course.sums = [course.sums[0] + loss, course.sums[1] + score, course.sums[2] + 1]
        course.step += 1
        if settings.mixed_precision:
            applied, last = int(plan.optimizer.iterations), course.step == plan.steps
            course.applied.after_step(applied, settings, last=last)
        shown.update(course.step, loss=course.sums[0] / course.sums[2])
        if course.step % settings.checkpoint_steps == 0 and course.step % plan.steps_per_epoch:
            _save(plan, course)


def _average_statistics(plan: _Plan) -> None:
    """Brings together what each rank has seen in its part of the batches."""
    moving = [v for v in plan.model.non_trainable_variables if "moving_" in v.path]
    if moving and plan.ranks.size > 1:
        means = plan.ranks.average([tf.convert_to_tensor(v) for v in moving])
        for variable, mean in zip(moving, means, strict=True):
            variable.assign(mean)


def _finish(plan: _Plan) -> None:
    if plan.settings.ema is not None:
        plan.optimizer.finalize_variable_values(plan.trained)
    plan.method.finish()


@contextmanager
def _finished(plan: _Plan) -> Iterator[None]:
    """The model as it would be if training ended here."""
    if plan.settings.ema is None and type(plan.method) is Method:
        yield
        return
    before = [np.array(variable) for variable in plan.judged]
    _finish(plan)
    yield
    _assign(plan.judged, before)


def _end_with_kept(plan: _Plan, course: _Course) -> None:
    if course.kept_epoch == 0:
        course.kept_epoch = plan.settings.epochs
        _finish(plan)
        return
    if plan.ranks.rank == 0:
        _assign(plan.judged, plan.kept)
    plan.ranks.broadcast(plan.judged)
    # The weights are finished, but not what the method tells of them.
    plan.method.finish()
    plan.kept.clear()


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _end_epoch(plan: _Plan, course: _Course, judge: Judge) -> None:
    ranks, method = plan.ranks, plan.method
    with _finished(plan):
        judged = _evaluate(judge, plan.dataset.validation, 256, ranks)
        counts = plan.settings.keep == "best" and method.has_final_form(course.step, plan.steps)
        if counts and judged.score >= course.kept_score:
            course.kept_epoch, course.kept_score = course.step // plan.steps_per_epoch, judged.score
            if ranks.rank == 0:
                plan.kept[:] = [np.array(variable) for variable in plan.judged]
    loss, score, count = np.asarray(ranks.total(tf.constant(course.sums)))
    course.sums = [0.0, 0.0, 0.0]
    rate = float(plan.optimizer.learning_rate)
    figures = (loss / count, score / count, judged.loss, judged.score, rate)
    for values, figure in zip(course.epochs.values(), figures, strict=True):
        values.append(float(figure))


def _train_step(plan: _Plan, task: Task) -> Callable[[Any, Any], tf.Tensor]:
    model, optimizer = plan.model, plan.optimizer
    trained, method, lesson = plan.trained, plan.method, plan.lesson

    def compute(given: Any, *, training: bool) -> Any:
        return lesson.observe(model, given, training=training)

    @tf.function(reduce_retracing=True)
    def step(inputs: Any, labels: Any) -> tf.Tensor:
        labels, answers = lesson.answers(inputs, labels)
        with tf.GradientTape() as tape:
            (outputs, seen), extra = _call(model, inputs, method, training=True, compute=compute)
            loss = task.loss(labels, outputs, plan.settings.label_smoothing)
            loss = tf.reduce_mean(lesson.loss(loss, outputs, seen, answers))
            total = tf.add_n([loss, *(tf.cast(each, loss.dtype) for each in extra)])
            scaled = optimizer.scale_loss(total)
        gradients = tape.gradient(scaled, [v.value for v in trained])
        gradients = [
            tf.zeros_like(v) if g is None else g for g, v in zip(gradients, trained, strict=True)
        ]
        gradients = method.gradients(gradients, trained)
        optimizer.apply(plan.ranks.average(gradients), trained)
        return tf.stack([loss, tf.reduce_mean(task.score(labels, outputs))])

    return step


def _call(
    model: Any,
    inputs: Sequence[tf.Tensor],
    method: Method,
    *,
    training: bool,
    compute: Callable[..., Any] | None = None,
) -> tuple[Any, Sequence[Any]]:
    """What `compute`, the model itself if None, gives; and the losses that layers add to the task's."""
    compute = compute or model
    given = arranged(model, inputs)
    replaced = method.replaced()
    if not replaced:
        outputs = compute(given, training=training)
        return outputs, model.losses
    with keras.StatelessScope(state_mapping=replaced, collect_losses=True) as scope:
        outputs = compute(given, training=training)
    if training:
        # Within the scope nothing is assigned: statistics and random states are to move on.
        for variable in model.non_trainable_variables:
            moved = scope.get_current_value(variable)
            if moved is not None:
                variable.assign(moved)
    return outputs, [*scope.losses, *model.losses]


def _trained(model: keras.Model, method: Method, lesson: Lesson) -> list[Any]:
    return [*model.trainable_variables, *method.trained, *lesson.trained]


def _optimizer(model: keras.Model, method: Method, lesson: Lesson, settings: Training) -> Any:
    common: dict[str, Any] = {
        "learning_rate": settings.learning_rate,
        "global_clipnorm": settings.clip_norm,
        "weight_decay": settings.weight_decay,
    }
    if settings.ema is not None:
        common |= {"use_ema": True, "ema_momentum": settings.ema}
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(**common)
    else:
        optimizer = keras.optimizers.SGD(momentum=settings.momentum, nesterov=True, **common)
    # Decay shrinks what multiplies channels into others, never a scale or an offset.
    spared = [v for v in model.trainable_variables if len(v.shape) < 2]
    optimizer.exclude_from_weight_decay(var_list=[*spared, *method.trained, *lesson.trained])
    if settings.mixed_precision:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(_trained(model, method, lesson))
    return optimizer


def _batch_size(wanted: int, examples: int, ranks: int) -> int:
    if wanted % ranks:
        raise UserError(
            f"training.batch_size: {wanted} cannot be shared by {ranks} workers; use a multiple of "
            f"{ranks}."
        )
    return min(wanted, examples // ranks * ranks)


def _seed_layers(model: keras.Model, seed: int) -> None:
    """Gives every layer that draws random numbers a state that follows from the seed alone."""
    for position, variable in enumerate(v for v in model.variables if "seed_generator" in v.path):
        variable.assign(np.array([seed % 2**32, position], "uint32"))


def _use_mixed_precision(model: keras.Model) -> list[tuple[Any, Any]]:
    layers = [layer for layer in model._flatten_layers(include_self=False) if layer.weights]
    policies = [(layer, layer.dtype_policy) for layer in layers]
    for layer in layers:
        layer.dtype_policy = "mixed_float16"
    return policies


def _identity(model: keras.Model, settings: Training, seed: int, method: Method, lesson: Lesson) -> str:
    """What makes two courses the same: settings that count, and the weights they start from."""
    counted = settings.model_dump(exclude={"checkpoint_steps", "workers"})
    told = repr((counted, seed, lesson.told, method.told))
    digest = hashlib.sha256(told.encode())
    for source in (model, *lesson.teachers):
        for weight in source.weights:
            digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _resume(plan: _Plan) -> _Course:
    state = None
    if plan.file is not None and plan.ranks.rank == 0:
        found = load_checkpoint(plan.file, plan.identity, plan.variables)
        if found is not None:
            state, plan.kept[:] = found.state, found.kept
    state = plan.ranks.broadcast_object(state)
    if state is None:
        return _Course()
    return _Course(**(state | {"applied": Applied(**state["applied"])}))


def _save(plan: _Plan, course: _Course) -> None:
    if plan.file is not None and plan.ranks.rank == 0:
        save_checkpoint(plan.file, plan.identity, asdict(course), plan.variables, plan.kept)


def _shown(stage: str, steps: int, ranks: Alone) -> Any:
    return progress(stage, steps) if ranks.rank == 0 else nullcontext(Silent())
