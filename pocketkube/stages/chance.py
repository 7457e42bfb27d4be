"""Says so where a model's outputs tell nothing of the labels: it may have been shown other inputs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from sklearn.metrics import cohen_kappa_score

from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.graph.not_called import naming_what_cannot_be_called
from pocketkube.measures import Classes, Measure, MultiLabel, TaskMeasure, label_places
from pocketkube.measures.paired import CHANCE, is_worse
from pocketkube.measures.wording import percent
from pocketkube.predictions import class_numbers, predicted_classes
from pocketkube.spec.model_files import is_model_file
from pocketkube.stages.configs import TrainModelConfig
from pocketkube.training.evaluation import fitting_batch
from pocketkube.training.task import Task

EXAMPLES, BATCH, LARGEST_OUTPUTS = 512, 64, 1 << 27
# Of each example so many positions are looked at, at most.
POSITIONS = 256
# Enough to tell two standard errors from chance.
SHUFFLES = 499
# Values that vary by no more, as a part of the largest, are all but equal.
HARDLY = 1e-3


@dataclass(frozen=True)
class Told:
    """How much an output tells of its labels.

    Attributes:
        skill: 1 where all is right, 0 where it is what chance gives: Cohen's kappa of classes; of
            values, by how much of the error of the labels' mean theirs is less.
        shown: The score in words, as in "accuracy 97.1 %".
        each: How right it is on each example, `[n]`; the higher the better.
    """

    skill: float
    shown: str
    each: np.ndarray


def at_chance(config: TrainModelConfig, model: keras.Model, dataset: Dataset, task: Task) -> list[str]:
    """A sentence, without its end, for each output that is at chance on validation examples.

    Without labels, one for each output that answers all but the same whatever the example.

    Args:
        config: The stage's.
        model: The uncompressed model.
        dataset: Its data; of many validation examples some are looked at.
        task: What its outputs are; those without a loss are left out.
    """
    inputs, labels = some_examples(model, dataset, config.seed)
    if task.to_original:
        return _one_answer([head.name for head in task.trained], labels, "validation examples")
    return untold(task.measure, labels, outputs_on(model, inputs), dataset.name, config.seed)


def asked_for(config: TrainModelConfig, dataset: Dataset, sentences: Sequence[str]) -> list[str]:
    """What `at_chance` found as warnings, with what to look at."""
    return [f"{sentence}: {_question(config, dataset)}" for sentence in sentences]


def some_examples(
    model: keras.Model, dataset: Dataset, seed: int
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Inputs and labels of a few hundred validation examples, fewer where outputs are large."""
    return materialize(dataset.validation, fitting_batch(model, EXAMPLES, LARGEST_OUTPUTS), seed)


def untold(
    measure: TaskMeasure,
    labels: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    origin: str,
    seed: int = 0,
    what: str = "validation examples",
) -> list[str]:
    """A sentence, without its end, for each output that tells nothing of its labels.

    Args:
        measure: What the outputs are; those that are not scored are left out.
        labels: One array `[n, ...]` for each output, or each that is scored.
        outputs: One array `[n, ...]` for each output.
        origin: What messages call the labels' source.
        seed: Of the order of others' labels.
        what: What sentences call the examples.
    """
    sentences = []
    for name, own, wanted, output in _scored(measure, labels, outputs, origin):
        sentence = _sentence(own, wanted, output, seed, what)
        sentences += [f"{name}{sentence}"] if sentence else []
    return sentences


def told(
    measure: TaskMeasure, labels: Sequence[np.ndarray], outputs: Sequence[np.ndarray], origin: str
) -> list[Told]:
    """How much each output tells of its labels, those left out of which nothing can be said.

    Args:
        measure: As for `untold`.
        labels: As for it.
        outputs: As for it.
        origin: As for it.
    """
    found = []
    for name, own, wanted, output in _scored(measure, labels, outputs, origin):
        one = _told_of(own, wanted, output)
        found += [Told(one.skill, f"{name}{one.shown}", one.each)] if one else []
    return found


def same_answers(measure: TaskMeasure, outputs: Sequence[np.ndarray], what: str) -> list[str]:
    """A sentence, without its end, for each output that hardly varies from example to example.

    Args:
        measure: What the outputs are; those that are not scored are left out.
        outputs: One array `[n, ...]` for each.
        what: What sentences call the examples.
    """
    answers = {
        head.name: predicted_classes(output, head.measure.cut)
        if isinstance(head.measure, Classes)
        else output
        for head, output in zip(measure.heads, outputs, strict=True)
        if head.scored
    }
    return _one_answer(list(answers), list(answers.values()), what)


def classes_at_chance(
    labels: np.ndarray, predicted: np.ndarray, seed: int, counted: np.ndarray | None = None
) -> float | None:
    """Whether predicted classes agree with labels no more than with those of other examples.

    A permutation test, one-sided, of two standard errors: exact for any share of the classes, so that a
    rare class which is found is no chance, and the same class for all examples is.

    Args:
        labels: Class numbers `[n, ...]`.
        predicted: The model's, likewise.
        seed: Of the order of others.
        counted: Which labels count, likewise; all if None.

    Returns:
        The share that agrees by chance; None where more agree, or there are too few labels to tell.
    """
    rng, counts = np.random.default_rng(seed), ... if counted is None else counted
    orders = [rng.permutation(len(labels)) for _ in range(SHUFFLES)]

    def by_luck(predicted: np.ndarray) -> tuple[float, float]:
        shares = np.array([(predicted[order] == labels)[counts].mean() for order in orders])
        as_good = int((shares >= (predicted == labels)[counts].mean()).sum())
        return (1 + as_good) / (1 + SHUFFLES), float(shares.mean())

    if by_luck(labels)[0] >= CHANCE:
        return None
    probability, share = by_luck(predicted)
    return share if probability >= CHANCE else None


def values_at_chance(labels: np.ndarray, outputs: np.ndarray) -> tuple[float, float] | None:
    """Whether outputs are nearer to labels than the labels' mean by no more than chance explains.

    By Student's t-test.

    Args:
        labels: Values `[n, ...]`.
        outputs: The model's, as many.

    Returns:
        The mean absolute error of the outputs, and of the labels' mean; None where the outputs are
        surely nearer, or there are too few labels to tell.
    """
    wanted = labels.reshape(len(labels), -1).astype(np.float64)
    errors = np.abs(outputs.reshape(wanted.shape) - wanted).mean(axis=1)
    without = np.abs(wanted - wanted.mean(axis=0)).mean(axis=1)
    if len(wanted) < 3 or not is_worse(np.zeros(len(wanted)), -without) or is_worse(-errors, -without):
        return None
    return float(errors.mean()), float(without.mean())


def _scored(
    measure: TaskMeasure, labels: Sequence[np.ndarray], outputs: Sequence[np.ndarray], origin: str
) -> Iterator[tuple[str, Measure, np.ndarray, np.ndarray]]:
    """Of each output that is scored: how sentences begin, its measure, its labels and itself."""
    scored = [head.scored for head in measure.heads]
    places = iter(label_places(scored, len(labels), origin, "the model"))
    for head, output in zip(measure.heads, outputs, strict=True):
        if head.scored:
            name = f"output {head.name}: " if len(outputs) > 1 else ""
            yield name, head.measure, labels[next(places)], output


def _one_answer(names: Sequence[str], answers: Sequence[np.ndarray], what: str) -> list[str]:
    """A sentence for each output whose answers are the same, or all but the same."""
    several = len(names) > 1
    return [
        f"{f'output {name}: ' if several else ''}the model answers the same on all {len(y)} {what}"
        for name, y in zip(names, answers, strict=True)
        if len(y) > 1 and _hardly_varies(y)
    ]


def _hardly_varies(answers: np.ndarray) -> bool:
    if not np.issubdtype(answers.dtype, np.floating):
        return bool((answers == answers[:1]).all())
    values = answers.reshape(len(answers), -1).astype(np.float64)
    return bool(values.std(axis=0).max() <= HARDLY * np.abs(values).max())


def outputs_on(model: keras.Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A model's outputs on arrays in the order of its inputs."""
    listed = keras.Model(model.inputs, model.outputs)
    starts = range(0, len(inputs[0]), BATCH)
    with naming_what_cannot_be_called(model):
        parts = [listed([x[at : at + BATCH] for x in inputs], training=False) for at in starts]
    columns = zip(*(keras.tree.flatten(part) for part in parts), strict=True)
    return [np.concatenate([np.asarray(part) for part in column]) for column in columns]


def _sentence(measure: Measure, labels: np.ndarray, outputs: np.ndarray, seed: int, what: str) -> str:
    if isinstance(measure, Classes):
        return _of_classes(measure, labels, outputs, seed, what)
    if isinstance(measure, MultiLabel):
        each = Classes(measure.cut)
        return _of_classes(each, labels[..., None], outputs[..., None], seed, what)
    return _of_values(labels, outputs, what)


def _told_of(measure: Measure, labels: np.ndarray, outputs: np.ndarray) -> Told | None:
    if isinstance(measure, MultiLabel):
        return _told_of(Classes(measure.cut), labels[..., None], outputs[..., None])
    if isinstance(measure, Classes):
        truth, predicted, counted = _positions(measure, labels, outputs)
        if len(np.unique(truth[counted])) < 2:
            return None
        right = (predicted == truth) & counted
        return Told(
            float(cohen_kappa_score(truth[counted], predicted[counted])),
            f"accuracy {percent(float(right[counted].mean()))}",
            right.sum(axis=1) / np.maximum(counted.sum(axis=1), 1),
        )
    if labels.size != outputs.size:
        return None
    wanted = labels.reshape(len(labels), -1).astype(np.float64)
    errors = np.abs(outputs.reshape(wanted.shape) - wanted).mean(axis=1)
    without, error = float(np.abs(wanted - wanted.mean(axis=0)).mean()), float(errors.mean())
    if without == 0:
        return None
    skill = 1 - error / without if np.isfinite(error) else -np.inf
    return Told(skill, f"a mean absolute error of {error:.4g}", -errors)


def _of_classes(measure: Classes, labels: np.ndarray, outputs: np.ndarray, seed: int, what: str) -> str:
    truth, predicted, counted = _positions(measure, labels, outputs)
    share = classes_at_chance(truth, predicted, seed, counted) if counted.any() else None
    if share is None:
        return ""
    classes, right = max(outputs.shape[-1], 2), float((predicted == truth)[counted].mean())
    # What is a little better cannot be told from chance, which is not to say that it is.
    verb = "may be" if right > share else "is"
    return (
        f"accuracy {percent(right)} on {len(truth)} {what} {verb} "
        f"chance for {classes} classes ({percent(share)} with the labels of others)"
    )


def _positions(
    measure: Classes, labels: np.ndarray, outputs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and predicted classes `[n, positions]`, and which of them count."""
    predicted = predicted_classes(outputs, measure.cut)
    truth = class_numbers(labels, outputs.shape).reshape(predicted.shape)
    truth, predicted = (_some_positions(each) for each in (truth, predicted))
    counted = np.ones(truth.shape, bool) if measure.ignore is None else truth != measure.ignore
    return truth, predicted, counted


def _some_positions(classes: np.ndarray) -> np.ndarray:
    """Positions from all over each example `[n, positions]`: neighbouring pixels tell much the same."""
    flat = classes.reshape(len(classes), -1)
    return flat[:, :: -(-flat.shape[1] // POSITIONS)]


def _of_values(labels: np.ndarray, outputs: np.ndarray, what: str) -> str:
    # A package's task may have labels of another shape than outputs: they do not tell.
    found = values_at_chance(labels, outputs) if labels.size == outputs.size else None
    if found is None:
        return ""
    (error, without), mean = found, "that of the labels' mean for all of them"
    sentence = f"a mean absolute error of {error:.4g} on {len(labels)} {what} is"
    if error < without:
        return f"{sentence} better than {mean}, {without:.4g}, by no more than chance explains"
    return f"{sentence} no better than {mean}, {without:.4g}"


def _question(config: TrainModelConfig, dataset: Dataset) -> str:
    """What to look at."""
    if not is_model_file(config.model):
        return "try more training.epochs or another training.learning_rate."
    low, high = config.dataset.value_range
    scale = f"dataset.value_range, now [{low:g}, {high:g}],"
    if not any(len(shape) == 3 for shape in dataset.input_shapes):
        what = "inputs and labels" if dataset.is_labelled else "inputs"
        return f"are {what} those that the model was trained with?"
    if config.dataset.source[0] == "npz":
        scale = f"x, or for uint8 images {scale}"
    if not dataset.is_labelled:
        return f"is {scale} what the model was trained with?"
    return f"is {scale} what the model was trained with, and are the labels the same?"
