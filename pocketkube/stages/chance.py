"""Says so where a model's outputs tell nothing of the labels: it may have been shown other inputs."""

from collections.abc import Sequence

import keras
import numpy as np
from scipy.stats import ttest_rel

from pocketkube.data.batches import materialize
from pocketkube.data.dataset import Dataset
from pocketkube.measures import Classes, MultiLabel, label_places
from pocketkube.measures.paired import CHANCE
from pocketkube.measures.wording import percent
from pocketkube.predictions import class_numbers, predicted_classes
from pocketkube.spec.model_files import is_model_file
from pocketkube.stages.configs import TrainModelConfig
from pocketkube.training.evaluation import fitting_batch
from pocketkube.training.head import Head
from pocketkube.training.task import Task

EXAMPLES, BATCH, LARGEST_OUTPUTS = 512, 64, 1 << 27
# Of each example so many positions are looked at, at most.
POSITIONS = 256
# Enough to tell two standard errors from chance.
SHUFFLES = 499


def at_chance(config: TrainModelConfig, model: keras.Model, dataset: Dataset, task: Task) -> list[str]:
    """A warning for each output that is no better than chance on validation examples.

    Without labels, one for each output that answers the same whatever the example.

    Args:
        config: The stage's.
        model: The uncompressed model.
        dataset: Its data; of many validation examples some are looked at.
        task: What its outputs are; those without a loss are left out.
    """
    examples = fitting_batch(model, EXAMPLES, LARGEST_OUTPUTS)
    inputs, labels = materialize(dataset.validation, examples, config.seed)
    if task.to_original:
        return [f"{sentence}: {_question(config, dataset)}" for sentence in _one_answer(task, labels)]
    found = untold(task, labels, _outputs(model, inputs), dataset.name, config.seed)
    return [f"{sentence}: {_question(config, dataset)}" for sentence in found]


def untold(
    task: Task,
    labels: Sequence[np.ndarray],
    outputs: Sequence[np.ndarray],
    origin: str,
    seed: int = 0,
    what: str = "validation examples",
) -> list[str]:
    """A sentence, without its end, for each output that tells nothing of its labels.

    Args:
        task: What the outputs are; those without a loss are left out.
        labels: One array `[n, ...]` for each output, or each that is scored.
        outputs: One array `[n, ...]` for each output.
        origin: What messages call the labels' source.
        seed: Of the order of others' labels.
        what: What sentences call the examples.
    """
    scored = [head.loss is not None for head in task.heads]
    trained = [z for z, is_scored in zip(outputs, scored, strict=True) if is_scored]
    places = label_places(scored, len(labels), origin, "the model")
    sentences = []
    for place, head, output in zip(places, task.trained, trained, strict=True):
        name = f"output {head.name}: " if len(outputs) > 1 else ""
        sentence = _sentence(head, labels[place], output, seed, what)
        sentences += [f"{name}{sentence}"] if sentence else []
    return sentences


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
    """Whether outputs are no nearer to labels than the labels' mean is, by Student's t-test.

    Args:
        labels: Values `[n, ...]`.
        outputs: The model's, as many.

    Returns:
        The mean absolute error of the outputs, and of the labels' mean; None where the outputs are
        nearer, or there are too few labels to tell.
    """
    wanted = labels.reshape(len(labels), -1).astype(np.float64)
    errors = np.abs(outputs.reshape(wanted.shape) - wanted).mean(axis=1)
    without = np.abs(wanted - wanted.mean(axis=0)).mean(axis=1)
    if len(wanted) < 3 or not _is_less(np.zeros(len(wanted)), without) or _is_less(errors, without):
        return None
    return float(errors.mean()), float(without.mean())


def _is_less(these: np.ndarray, those: np.ndarray) -> bool:
    if not np.isfinite(these).all() or these.mean() >= those.mean():
        return False
    # Where all differ by the same, there is no spread to compare with.
    return bool(
        np.ptp(those - these) == 0 or ttest_rel(those, these, alternative="greater").pvalue < CHANCE
    )


def _one_answer(task: Task, labels: Sequence[np.ndarray]) -> list[str]:
    """A sentence for each output whose answers, which are the labels, are all the same."""
    several = len(task.trained) > 1
    return [
        f"{f'output {head.name}: ' if several else ''}the model answers the same on all {len(y)} "
        "validation examples"
        for head, y in zip(task.trained, labels, strict=True)
        if len(y) > 1 and (y == y[:1]).all()
    ]


def _outputs(model: keras.Model, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    listed = keras.Model(model.inputs, model.outputs)
    starts = range(0, len(inputs[0]), BATCH)
    parts = [listed([x[at : at + BATCH] for x in inputs], training=False) for at in starts]
    columns = zip(*(keras.tree.flatten(part) for part in parts), strict=True)
    return [np.concatenate([np.asarray(part) for part in column]) for column in columns]


def _sentence(head: Head, labels: np.ndarray, outputs: np.ndarray, seed: int, what: str) -> str:
    if isinstance(head.measure, Classes):
        return _of_classes(head.measure, labels, outputs, seed, what)
    if isinstance(head.measure, MultiLabel):
        each = Classes(head.measure.cut)
        return _of_classes(each, labels[..., None], outputs[..., None], seed, what)
    return _of_values(labels, outputs, what)


def _of_classes(measure: Classes, labels: np.ndarray, outputs: np.ndarray, seed: int, what: str) -> str:
    predicted = predicted_classes(outputs, measure.cut)
    truth = class_numbers(labels, outputs.shape).reshape(predicted.shape)
    truth, predicted = (_some_positions(each) for each in (truth, predicted))
    counted = np.ones(truth.shape, bool) if measure.ignore is None else truth != measure.ignore
    share = classes_at_chance(truth, predicted, seed, counted) if counted.any() else None
    if share is None:
        return ""
    classes, right = max(outputs.shape[-1], 2), float((predicted == truth)[counted].mean())
    return (
        f"accuracy {percent(right)} on {len(truth)} {what} is "
        f"chance for {classes} classes ({percent(share)} with the labels of others)"
    )


def _some_positions(classes: np.ndarray) -> np.ndarray:
    """Positions from all over each example `[n, positions]`: neighbouring pixels tell much the same."""
    flat = classes.reshape(len(classes), -1)
    return flat[:, :: -(-flat.shape[1] // POSITIONS)]


def _of_values(labels: np.ndarray, outputs: np.ndarray, what: str) -> str:
    # A package's task may have labels of another shape than outputs: they do not tell.
    found = values_at_chance(labels, outputs) if labels.size == outputs.size else None
    if found is None:
        return ""
    error, without = found
    return (
        f"a mean absolute error of {error:.4g} on {len(labels)} {what} is no better than "
        f"that of the labels' mean for all of them, {without:.4g}"
    )


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
