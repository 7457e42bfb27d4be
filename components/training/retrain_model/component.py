"""KFP component: makes a new version of a model on a partition of data, from training to its file."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def retrain_model(
    spec: dict,
    registry: str,
    stamp: str,
    compressed: dsl.Output[dsl.Model],
    litert: dsl.Output[dsl.Model],
    baseline: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    deployed: str = "",
    work: str = "",
    cluster: dict = {},
) -> None:
    """Makes a new version of a model on a partition of data, from training to its file.

    All steps of the job run in this one task, for each further task of a pipeline costs some 20
    seconds; finished ones are kept, so that a pod that is lost is followed by one that goes on.

    Args:
        spec: The job on the partition, as a spec's file holds it.
        registry: Where the model's versions are.
        stamp: Changes with the partition's data, so that a kept output is not taken for another's.
        compressed: Gets the bundle of the compressed network.
        litert: Gets its LiteRT file.
        baseline: Gets the deployed version's file, or that of the uncompressed network.
        metrics: Gets the score, multiply-adds and parameters.
        deployed: The deployed version; empty where there is none.
        work: The s3:// place where finished steps are kept; empty to keep none.
        cluster: Where the training runs, and with what; it changes no result. Empty for the defaults.
    """
    from pathlib import Path

    from pocketkube.retraining.tasks import retrain_task
    from pocketkube.stages.component import ending_in_one_line, metrics_of

    with ending_in_one_line():
        retrain_task(
            spec,
            registry,
            deployed,
            work,
            Path(compressed.path),
            Path(litert.path),
            Path(baseline.path),
            cluster,
        )
    for name, value in metrics_of(compressed.path).items():
        metrics.log_metric(name, value)
