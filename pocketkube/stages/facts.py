"""What a stage writes down about the model that it hands on."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from pocketkube import __version__
from pocketkube.data.dataset import Dataset
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.graph.kernels import kernels_of
from pocketkube.packing import Form
from pocketkube.sparsity.kernels import count_zeros
from pocketkube.training.loop import History, Scores, evaluate_all
from pocketkube.training.task import Task, told_task


@dataclass(frozen=True)
class Judged:
    """A model's scores and cost.

    Attributes:
        validation: On the validation examples.
        test: On the test examples; for the report alone.
        profile: What it costs.
        zeros: Part of the weights of kernels that is zero.
        weight_bits: Bits of a kernel's weight, ascending: several where kernels differ.
    """

    validation: Scores
    test: Scores
    profile: Profile
    zeros: float
    weight_bits: tuple[int, ...]


def judge(
    model: keras.Model, dataset: Dataset, task: Task, forms: Mapping[str, Form] | None = None
) -> Judged:
    """Judges a model on what it was not trained on.

    Args:
        model: The model.
        dataset: Its validation and test examples.
        task: The score.
        forms: The forms of weights that have few values, by the weight's name.
    """
    zeros, weights = count_zeros(model)
    validation, test = evaluate_all(model, [dataset.validation, dataset.test], task)
    return Judged(
        validation,
        test,
        profile_model(model),
        zeros / max(weights, 1),
        _weight_bits(model, forms or {}),
    )


def _weight_bits(model: keras.Model, forms: Mapping[str, Form]) -> tuple[int, ...]:
    found = ((kernel, forms.get(kernel.path)) for kernel in kernels_of(model))
    bits = {form.bits if form else 8 * kernel.variable.value.dtype.size for kernel, form in found}
    return tuple(sorted(bits))


def first_facts(model: str, dataset: Dataset, task: Task, seed: int) -> dict[str, Any]:
    """Facts of a model that no stage has touched yet."""
    return {
        "pocketkube": __version__,
        "model": model,
        "dataset": dataset.name,
        "task": task.told,
        "seed": seed,
        "stages": [],
    }


def task_of(facts: dict[str, Any]) -> Task:
    """The task that the first stage settled on."""
    return told_task(facts["task"])


def is_sparse(facts: dict[str, Any]) -> bool:
    """Whether a stage has made weights zero, which later ones are to leave so."""
    return was_done(facts, "sparsify_weights")


def was_done(facts: dict[str, Any], stage: str) -> bool:
    """Whether a model has been through a stage."""
    return any(done["name"] == stage for done in facts["stages"])


def _kept(history: History | None) -> list[str]:
    """Which epoch's weights the model has, where they are not the last one's."""
    if history is None or history.kept_epoch == len(history.loss):
        return []
    return [
        f"The weights are those of epoch {history.kept_epoch} of {len(history.loss)}, which did best "
        "on the validation examples."
    ]


def after_stage(
    facts: dict[str, Any],
    name: str,
    judged: Judged,
    began: float,
    *,
    history: History | None = None,
    notes: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> dict[str, Any]:
    """Facts with one stage more.

    Args:
        facts: Facts of the model that the stage took.
        name: The stage.
        judged: The model that it gives.
        began: When it began, by time.monotonic().
        history: How training went, where it trained.
        notes: Sentences for the user.
        warnings: The same, of what may have gone wrong: said at the end of the stage, too, and of the
            whole job.
    """
    stage = {
        "name": name,
        "seconds": time.monotonic() - began,
        "score": judged.test.score,
        "val_score": judged.validation.score,
        "heads": _head_scores(task_of(facts), judged),
        "macs": judged.profile.macs,
        "macs_bound": judged.profile.bound,
        "parameters": judged.profile.parameters,
        "zeros": judged.zeros,
        "weight_bits": list(judged.weight_bits),
        "history": asdict(history) if history and history.loss else None,
        "notes": [*_kept(history), *notes],
        "warnings": list(warnings),
    }
    return {**facts, "stages": [*facts["stages"], stage], "profile": judged.profile.to_dict()}


def _head_scores(task: Task, judged: Judged) -> list[dict[str, Any]]:
    """What each output that is scored comes to by itself."""
    scores = zip(task.trained, judged.test.heads, judged.validation.heads, strict=True)
    return [
        {
            "name": head.name,
            "score_name": head.measure.wording.score_name,
            "score": test,
            "val_score": validation,
        }
        for head, test, validation in scores
    ]
