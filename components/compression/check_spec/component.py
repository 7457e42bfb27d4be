"""KFP component: checks what a pipeline's form asks for, and tells each task its part of it."""

import os
from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def check_spec(
    model: str = "lenet",
    dataset_kind: str = "builtin",
    dataset: str = "digits",
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
) -> NamedTuple(  # type: ignore[valid-type]
    "Parts",
    [
        ("model", str),
        ("width", float),
        *((name, dict) for name in ("dataset", "task", "target", "training", "distillation")),
        ("benchmark", dict),
        ("cluster", dict),
        ("seed", int),
        ("imports", list),
        ("held", str),
        ("stages", list),
        *((name, dict) for name in ("prune_channels", "fine_tune", "number_format")),
        ("file_stages", list),
        ("file_benchmark", dict),
        ("training_cluster", dict),
        ("benchmark_cluster", dict),
        *(
            (f"{task}_{name}", kind)
            for task in (
                *("check_export", "train_model", "prune_channels", "fine_tune"),
                *("baseline", "result", "benchmark_litert", "build_report"),
            )
            for name, kind in (
                *(("cpu", str), ("memory", str), ("gpus", str)),
                *(("node_selector", dict), ("tolerations", list)),
            )
        ),
    ],
):
    """Checks what a pipeline's form asks for, and tells each task its part of it.

    What is wrong is refused in one line, before anything costly starts.

    Args:
        model: A built-in network's name, or the s3:// address of a .keras file.
        dataset_kind: What the data set is.
        dataset: Its name where it is built in, else its s3:// address.
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
        settings: Anything else of a spec, laid over the parameters above, as in {"training":
            {"optimizer": "sgd"}}; stages holds settings of single stages, as in [{"prune_channels":
            {"criterion": "l2"}}].
    """
    from pocketkube.stages.component import ending_in_one_line
    from pocketkube.stages.parts import checked_parts

    with ending_in_one_line():
        parts, requests = checked_parts(
            {
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
            }
        )
    return (*parts, *(value for request in requests.values() for value in request))
