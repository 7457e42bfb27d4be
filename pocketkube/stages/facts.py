"""What a stage writes down about the model that it hands on."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras

from pocketkube import __version__
from pocketkube.data.dataset import Dataset
from pocketkube.graph.cost import Profile, profile_model
from pocketkube.training.loop import History, Scores, evaluate
from pocketkube.training.task import Task


@dataclass(frozen=True)
class Judged:
    """A model's scores and cost.

    Attributes:
        validation: On the validation examples.
        test: On the test examples; for the report alone.
        profile: What it costs.
    """

    validation: Scores
    test: Scores
    profile: Profile


def judge(model: keras.Model, dataset: Dataset, task: Task) -> Judged:
    """Judges a model on what it was not trained on."""
    return Judged(
        evaluate(model, dataset.validation, task),
        evaluate(model, dataset.test, task),
        profile_model(model),
    )


def first_facts(model: str, dataset: Dataset, task: Task, seed: int) -> dict[str, Any]:
    """Facts of a model that no stage has touched yet."""
    return {
        "pocketkube": __version__,
        "model": model,
        "dataset": dataset.name,
        "num_classes": dataset.num_classes,
        "task": told_of(task),
        "seed": seed,
        "stages": [],
    }


def told_of(task: Task) -> dict[str, Any]:
    """A task as facts tell it."""
    return {
        "kind": task.kind,
        "score_name": task.score_name,
        "from_logits": task.from_logits,
        "description": task.description,
    }


def task_of(facts: dict[str, Any]) -> Task:
    """The task that the first stage settled on."""
    told = facts["task"]
    return Task(told["kind"], told["from_logits"], told["description"])


def is_sparse(facts: dict[str, Any]) -> bool:
    """Whether a stage has made weights zero, which later ones are to leave so."""
    return any(stage["name"] == "sparsify_weights" for stage in facts["stages"])


def after_stage(
    facts: dict[str, Any],
    name: str,
    judged: Judged,
    began: float,
    *,
    history: History | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Facts with one stage more.

    Args:
        facts: Facts of the model that the stage took.
        name: The stage.
        judged: The model that it gives.
        began: When it began, by time.monotonic().
        history: How training went, where it trained.
        notes: Sentences for the user.
    """
    stage = {
        "name": name,
        "seconds": time.monotonic() - began,
        "score": judged.test.score,
        "val_score": judged.validation.score,
        "macs": judged.profile.macs,
        "parameters": judged.profile.parameters,
        "history": asdict(history) if history and history.loss else None,
        "notes": list(notes),
    }
    return {**facts, "stages": [*facts["stages"], stage], "profile": judged.profile.to_dict()}
