"""Says so where a stage's model is worse than the one it began with by more than chance explains."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pocketkube.bundle import NOW, UNPRUNED, Bundle
from pocketkube.facts import PruningFacts
from pocketkube.measures import Wording
from pocketkube.measures.paired import is_worse
from pocketkube.pruning.criteria import always_fits
from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import (
    ClusterWeights,
    DistillModel,
    FineTune,
    QuantizeWeights,
    SparsifyWeights,
    Training,
)
from pocketkube.stages.assessment import Assessment
from pocketkube.training.task import Task

# The original agrees with itself in full: what lost less than this part of it is not warned of.
STRAYING = 0.1
# Weights of so many bits hardly differ from floats.
FINE_BITS = 8


def warning(
    before: np.ndarray | None,
    after: np.ndarray,
    wording: Wording,
    remedies: Sequence[str],
    since: str = "",
) -> list[str]:
    """A sentence on what became worse, with what to try; none where that may be chance.

    Args:
        before: Scores of the validation examples `[n]`, those of the model that came in;
            None where they are not known.
        after: The same of the model that goes out.
        wording: How a score is read.
        remedies: What to try.
        since: Which model was better, as in "before prune_channels", where it is not the one that came
            into the stage.
    """
    if before is None or len(before) != len(after) or not is_worse(before, after):
        return []
    if wording.is_agreement and np.ptp(before) == 0 and not _strays(before, after, wording):
        return []
    was, now = (wording.shown(float(each.mean(dtype=np.float64))) for each in (before, after))
    sentence = f"validation {wording.name_of_mean} is {now}, where it was {was} {since or 'before'}"
    advice = f": try {_either(remedies)}" if remedies else ""
    return [f"{sentence}, more than chance explains on {len(after)} examples{advice}."]


def _strays(before: np.ndarray, after: np.ndarray, wording: Wording) -> bool:
    """Whether a model is far from the original, from which all others differ by more than chance.

    Of errors nothing tells how many are many.
    """
    return wording.is_share and before.mean() - after.mean() > STRAYING


def worse_by_training(
    student: Bundle, found: Assessment, settings: Any, course: Training, task: Task
) -> list[str]:
    """The warning of a stage that trains, or is to; said once where pruning came before.

    Args:
        student: The bundle that came in.
        found: The scores of the model that goes out.
        settings: The stage's settings.
        course: How it trained, unless its epochs are 0.
        task: The score.
    """
    scores, wording, tried = found.validation.each, task.measure.wording, remedies(settings, course)
    warned = warning(student.scores.get(NOW), scores, wording, tried)
    if warned or settings.epochs == 0:
        return warned
    return _worse_than_unpruned(student, scores, wording, tried)


def worse_by_pruning(bundle: Bundle, wording: Wording) -> list[str]:
    """The warning of a model that is exported, where no training has followed its pruning."""
    now = bundle.scores.get(NOW)
    return [] if now is None else _worse_than_unpruned(bundle, now, wording, ["fine_tune after it"])


def _worse_than_unpruned(
    bundle: Bundle, scores: np.ndarray, wording: Wording, remedies: Sequence[str]
) -> list[str]:
    tried = [*_less_pruning(bundle.facts.unrecovered), *remedies]
    return warning(bundle.scores.get(UNPRUNED), scores, wording, tried, "before prune_channels")


def remedies(settings: Any, course: Training) -> list[str]:
    """What to try where a stage has made its model worse.

    Args:
        settings: The stage's settings.
        course: How it trained.
    """
    return [*REMEDIES[type(settings)](settings), *(_longer(course) if settings.epochs != 0 else [])]


def _less_pruning(settings: Sequence[PruningFacts]) -> list[str]:
    tried = ["smaller ratios" if all(each.ratios for each in settings) else "a smaller target"]
    if any(each.reconstruct and not always_fits(each.criterion) for each in settings):
        tried.append("reconstruct: false")
    if all(each.group_size is None for each in settings):
        tried.append("group_size: 1, which fine-tunes between")
    return tried


def _longer(course: Training) -> list[str]:
    rate = f"a learning_rate below {course.learning_rate:g}"
    return [f"more than {course.epochs} epochs", rate]


def _of_fine_tuning(settings: FineTune) -> list[str]:
    return []


def _of_sparsity(settings: SparsifyWeights) -> list[str]:
    if settings.ratios:
        return ["smaller ratios"]
    return [] if settings.pattern == "two_of_four" else [f"a sparsity below {settings.sparsity:g}"]


def _of_codebooks(settings: ClusterWeights) -> list[str]:
    tried = [f"more than {settings.bits} bits"] if settings.bits < FINE_BITS else []
    if settings.granularity == "tensor":
        tried.append("granularity: channel")
    return [*tried, *(["epochs, which are 0"] if settings.epochs == 0 else [])]


def _of_levels(settings: QuantizeWeights) -> list[str]:
    tried = []
    if settings.weight_bits < FINE_BITS:
        tried.append(f"more than {settings.weight_bits} weight_bits")
    if isinstance(settings.activation_bits, int) and settings.activation_bits < FINE_BITS:
        tried.append(f"more than {settings.activation_bits} activation_bits")
    if settings.granularity == "tensor":
        tried.append("granularity: channel")
    if settings.calibration != "percentile" and settings.epochs == 0:
        tried.append("calibration: percentile, which outliers do not touch")
    return [*tried, *(["epochs, which are 0"] if settings.epochs == 0 else [])]


def _of_a_student(settings: DistillModel) -> list[str]:
    if is_model_file(settings.student):
        return ["a larger student"]
    return [f"a width above {settings.width:g}"]


REMEDIES: Mapping[type, Callable[[Any], list[str]]] = {
    DistillModel: _of_a_student,
    FineTune: _of_fine_tuning,
    SparsifyWeights: _of_sparsity,
    ClusterWeights: _of_codebooks,
    QuantizeWeights: _of_levels,
}


def _either(remedies: Sequence[str]) -> str:
    *others, last = remedies
    return f"{', '.join(others)} or {last}" if others else last
