"""KFP component: looks at the newest data with the deployed model, and decides what to do."""

import os
from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def decide_retraining(
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    model: str = "lenet",
    dataset_kind: str = "npz",
    dataset: str = "data.npz",
    speedup: float = 2.0,
    max_size: int = 0,
    max_latency_ms: float = 0.0,
    max_accuracy_drop: float = 0.0,
    epochs: int = 8,
    fine_tune_epochs: int = 0,
    batch_size: int = 128,
    workers: int = 1,
    launcher: str = "inline",
    number_format: str = "int8",
    benchmark_arch: str = "any",
    seed: int = 0,
    object_store_secret: str = "mlpipeline-minio-artifact",
    settings: dict = {},
    name: str = "digits",
    partitions: str = "s3://mlpipeline/data/digits",
    registry: str = "s3://mlpipeline/models/digits",
    max_score_fall: float = 0.02,
    max_age_days: float = 0.0,
    replan_fall: float = 0.1,
    gate_score_drop: float = 0.02,
    gate_size_growth: float = 0.1,
    gate_latency_growth: float = 0.1,
    model_registry: str = "",
) -> NamedTuple(  # type: ignore[valid-type]
    "Decided",
    [
        ("retrain", bool),
        *((name, dict) for name in ("retraining", "decision", "spec")),
        *((name, str) for name in ("deployed", "versions", "stamp", "work")),
        *((name, dict) for name in ("benchmark", "training_cluster", "benchmark_cluster")),
        *(
            (f"{task}_{name}", kind)
            for task in ("retrain_model", "benchmark_litert")
            for name, kind in (
                *(("cpu", str), ("memory", str), ("gpus", str)),
                *(("node_selector", dict), ("tolerations", list)),
            )
        ),
    ],
):
    """Looks at the newest data with the deployed model, and decides whether to retrain it.

    What is wrong is refused in one line, before anything costly starts. Where an earlier run registered
    a version, but ended before it was deployed, it is deployed.

    Args:
        report: Gets the decision and the figures that it rests on, a page that needs no network.
        summary: Gets the same, short.
        metrics: Gets the scores and distances.
        model: A built-in network's name, or the s3:// address of a .keras file.
        dataset_kind: What a partition is.
        dataset: What the file in a partition's folder is called, or its files' pattern.
        speedup: How many times fewer multiply-adds are asked for; 0 asks for none.
        max_size: Most bytes that model.tflite may have; 0 is any number.
        max_latency_ms: Most milliseconds that the median latency may be; 0 is any.
        max_accuracy_drop: Most that accuracy may fall, 0.01 is one point; 0 does not ask.
        epochs: Passes over the training data, for a built-in network.
        fine_tune_epochs: Passes after pruning; 0 is half as many as epochs says.
        batch_size: Examples a step, over all workers.
        workers: Processes that train together.
        launcher: Where workers train: inline in the task's own pod, or each in one of its own.
        number_format: What the numbers in model.tflite are.
        benchmark_arch: The architecture of the nodes that measure; any is the task's own node.
        seed: Everything random follows from it.
        object_store_secret: The Secret whose accesskey and secretkey open s3:// addresses.
        settings: Anything else of a spec, laid over the parameters above.
        name: What the model is called.
        partitions: Where the data are: each file or folder in it is a partition.
        registry: Where the model's versions are.
        max_score_fall: Retrain where the deployed version's score fell by more, and beyond chance.
        max_age_days: Retrain after so long, whatever the score is; 0 is never.
        replan_fall: Choose the channels anew where the score fell by more than this.
        gate_score_drop: Most that a new version's score may be lower.
        gate_size_growth: Most that its file may be larger, 0.1 is 10 %.
        gate_latency_growth: Most that it may be slower, likewise.
        model_registry: The URL of a Kubeflow Model Registry, if there is one.
    """
    from pathlib import Path

    from pocketkube.retraining.tasks import decide_task, figures_of
    from pocketkube.stages.component import ending_in_one_line

    form = {
        "model": model,
        "dataset_kind": dataset_kind,
        "dataset": dataset,
        "speedup": speedup,
        "max_size": max_size,
        "max_latency_ms": max_latency_ms,
        "max_accuracy_drop": max_accuracy_drop,
        "epochs": epochs,
        "fine_tune_epochs": fine_tune_epochs,
        "batch_size": batch_size,
        "workers": workers,
        "launcher": launcher,
        "number_format": number_format,
        "benchmark_arch": benchmark_arch,
        "seed": seed,
        "object_store_secret": object_store_secret,
        "settings": settings,
        "name": name,
        "partitions": partitions,
        "registry": registry,
        "max_score_fall": max_score_fall,
        "max_age_days": max_age_days,
        "replan_fall": replan_fall,
        "gate_score_drop": gate_score_drop,
        "gate_size_growth": gate_size_growth,
        "gate_latency_growth": gate_latency_growth,
        "model_registry": model_registry,
    }
    with ending_in_one_line():
        told, requests = decide_task(form, Path(report.path), Path(summary.path))
    for key, value in figures_of(told.decision).items():
        metrics.log_metric(key, value)
    return (*told, *(value for request in requests.values() for value in request))
