"""A form's typed parameters as settings of scheduled retraining."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from pocketkube.retraining.settings import RetrainingJob, parse_retraining
from pocketkube.spec import document_of
from pocketkube.spec.form import CompressForm, form_of, spec_of


class RetrainingForm(CompressForm):
    """What the form of the pipeline scheduled-retraining asks for. 0 is a number that is not given."""

    name: str = Field("digits", description="What the model is called.")
    partitions: str = Field(
        "s3://mlpipeline/data/digits",
        description="The s3:// place of the data: each file or folder in it is a partition, the last "
        "by name the newest; a folder counts once it holds _SUCCESS or checksums.json.",
    )
    registry: str = Field(
        "s3://mlpipeline/models/digits", description="The s3:// place of the model's versions."
    )
    dataset_kind: Literal["npz", "idx", "cifar10", "cifar100", "image_folder", "tfrecord"] = Field(
        "npz", description="What a partition is."
    )
    dataset: str = Field(
        "data.npz",
        description="What the file in a partition's folder is called, or its files' pattern; of files "
        "that are partitions themselves the ending counts.",
    )
    max_score_fall: float = Field(
        0.02, description="Retrain where the deployed version's score fell by more: 0.01 is one point."
    )
    max_age_days: float = Field(
        0.0, description="Retrain after so long, whatever the score is; 0: never."
    )
    replan_fall: float = Field(
        0.1, description="Choose the channels anew where the score fell by more than this."
    )
    gate_score_drop: float = Field(0.02, description="Most that a new version's score may be lower.")
    gate_size_growth: float = Field(0.1, description="Most that its file may be larger: 0.1 is 10 %.")
    gate_latency_growth: float = Field(0.1, description="Most that it may be slower, likewise.")
    model_registry: str = Field(
        "", description="The URL of a Kubeflow Model Registry, if there is one."
    )


# Where in retraining.yaml each parameter goes that is not the spec's.
PLACES: Mapping[str, tuple[str, ...]] = {
    "name": ("name",),
    "partitions": ("partitions",),
    "registry": ("registry",),
    "max_score_fall": ("drift", "max_score_drop"),
    "max_age_days": ("max_age_days",),
    "replan_fall": ("replan_drop",),
    "gate_score_drop": ("gate", "max_score_drop"),
    "gate_size_growth": ("gate", "max_size_growth"),
    "gate_latency_growth": ("gate", "max_latency_growth"),
    "model_registry": ("model_registry",),
}


def job_of(given: Mapping[str, Any]) -> RetrainingJob:
    """The retraining that a form asks for.

    Args:
        given: The form's parameters by their names; whole numbers may be floats.

    Raises:
        UserError: If a parameter is wrong.
    """
    form = form_of(RetrainingForm, given)
    own = {name: getattr(form, name) for name in CompressForm.model_fields}
    document: dict[str, Any] = {"spec": document_of(spec_of(own))}
    for name, (*path, last) in PLACES.items():
        here = document
        for key in path:
            here = here.setdefault(key, {})
        here[last] = getattr(form, name) if name != "max_age_days" else form.max_age_days or None
    return parse_retraining(document)
