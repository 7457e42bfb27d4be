"""The pipeline that a schedule starts: decide, and where it has to be, retrain, measure, register."""

from collections.abc import Mapping
from typing import Any

from kfp import dsl

from components.compression.benchmark_litert import benchmark_litert
from components.training.decide_retraining import decide_retraining
from components.training.register_version import register_version
from components.training.retrain_model import retrain_model
from pipelines.forms import form_pipeline
from pipelines.pods import request_first, request_later, set_images, set_pod, set_store
from pocketkube.retraining.form import RetrainingForm
from pocketkube.spec.sections import TaskPods

NAME = "scheduled-retraining"
# A partition of the data and two models are looked at.
_MEMORY = "8Gi"
DESCRIPTION = "Retrains a deployed model on the newest data, where it has to be."


def scheduled_retraining() -> Any:
    """Builds the pipeline; its parameters are those of its first task, `decide_retraining`.

    Returns:
        The KFP pipeline.
    """

    def pipeline(*values: Any) -> None:
        given = dict(zip(RetrainingForm.model_fields, values, strict=True))
        secret = given["object_store_secret"]
        decided = decide_retraining(**given)
        # New data and another deployed version are no parameters.
        _placed(decided, secret).set_caching_options(False)
        set_images(decided)
        request_first(decided, _MEMORY)
        found = decided.outputs
        with dsl.If(found["retrain"] == True, "retrain"):  # noqa: E712
            made = retrain_model(
                spec=found["spec"],
                registry=found["versions"],
                stamp=found["stamp"],
                deployed=found["deployed"],
                work=found["work"],
                cluster=found["training_cluster"],
            )
            _placed(made, secret).set_retry(TaskPods().retries)
            _requested(made, found, "retrain_model")
            measured = benchmark_litert(
                baseline=made.outputs["baseline"],
                result=made.outputs["litert"],
                benchmark=found["benchmark"],
                cluster=found["benchmark_cluster"],
            )
            # A latency of another day says nothing of this machine.
            _placed(measured, secret).set_caching_options(False)
            _requested(measured, found, "benchmark_litert")
            registered = register_version(
                compressed=made.outputs["compressed"],
                litert=made.outputs["litert"],
                baseline=made.outputs["baseline"],
                measured=measured.outputs["figures"],
                retraining=found["retraining"],
                decision=found["decision"],
                work=found["work"],
            )
            _placed(registered, secret).set_caching_options(False)
            registered.set_retry(TaskPods().retries)
            request_first(registered, _MEMORY)

    return form_pipeline(pipeline, RetrainingForm, decide_retraining, NAME, DESCRIPTION)


def _placed(task: Any, secret: Any) -> Any:
    set_pod(task)
    set_store(task, secret)
    return task


def _requested(task: Any, found: Mapping[str, Any], name: str) -> None:
    """What the pod asks for; kfp brings only what a task is known to read into a condition."""
    task.register_pipeline_channels([found[f"{name}_{part}"] for part in ("cpu", "memory", "gpus")])
    request_later(task, found, name)
