"""What a job can do that has no example, neither with labels nor without."""

from collections.abc import Sequence
from typing import Any, Protocol

from pocketkube.spec.model_files import is_model_file
from pocketkube.spec.sections import (
    ClusterWeights,
    PruneChannels,
    Quantize,
    Search,
    StageBase,
    Target,
)
from pocketkube.spec.sections.prune_channels import CRITERIA, DATA_FREE

BY_WEIGHTS = f"{', '.join(DATA_FREE[:-1])} or {DATA_FREE[-1]}"
WORK = (
    f"prune_channels by {BY_WEIGHTS}, cluster_weights with epochs: 0, quantize_dynamic and "
    "quantize_float16"
)


class Job(Protocol):
    """What of a spec tells whether it goes without examples."""

    @property
    def model(self) -> str:
        """A built-in network's name, or a file."""

    @property
    def target(self) -> Target | None:
        """What to reach."""

    @property
    def stages(self) -> Sequence[StageBase]:
        """What is done."""

    @property
    def search(self) -> Search | None:
        """What is searched."""


def needs_examples(job: Job) -> str:
    """Why a job without a dataset cannot be done, and what would be right; empty if it can.

    Args:
        job: The job, which has none.
    """
    if not is_model_file(job.model):
        return (
            f"dataset: is missing, and {job.model} is trained from scratch; give one, or the path of a "
            "trained network's file as model"
        )
    if job.search is not None:
        return f"dataset: is missing, and search judges trials by examples; without any, {WORK} work"
    if job.target is not None and job.target.max_accuracy_drop is not None:
        return (
            "dataset: is missing, and max_accuracy_drop is judged by examples; without any, give "
            "speedup, max_size or max_latency_ms"
        )
    for stage in job.stages:
        if isinstance(stage, PruneChannels):
            if stage.criterion in CRITERIA and stage.criterion not in DATA_FREE:
                return (
                    f"dataset: is missing, and the criterion {stage.criterion} looks at examples; "
                    f"without any, use {BY_WEIGHTS}"
                )
            if stage.group_size is not None:
                return (
                    "dataset: is missing, and group_size trains between groups; without examples, "
                    "leave it out"
                )
        elif isinstance(stage, ClusterWeights) and stage.epochs == 0:
            continue
        elif not isinstance(stage, Quantize) or stage.name == "quantize_int8":
            return f"dataset: is missing, and {stage.name} needs examples; without any, {WORK} work"
    return ""


def by_weights_alone(stage: Any) -> Any:
    """A stage's settings, where there are no examples: channels are judged by their weights.

    Args:
        stage: A mapping with the stage's name, or what is none.
    """
    if isinstance(stage, dict) and stage.get("name") == "prune_channels":
        return {"criterion": "l2"} | stage
    return stage
