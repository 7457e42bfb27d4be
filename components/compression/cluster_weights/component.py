"""KFP component: gives each kernel of a network a few values that are learnt."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def cluster_weights(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    clustered: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Gives each kernel of a network a few values that are learnt.

    Args:
        model: Bundle of the network to cluster.
        teacher: Bundle of the uncompressed network.
        spec: The job, as `pocketkube spec --explain` tells.
        clustered: Gets the bundle of the clustered network, with model.packed in it.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "cluster_weights",
        spec,
        {"model": model.path, "teacher": teacher.path},
        clustered.path,
        position,
    )
    for name, value in metrics_of(clustered.path).items():
        metrics.log_metric(name, value)
