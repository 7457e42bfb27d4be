"""KFP component: trains a network while more and more of its weights become zero."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def sparsify_weights(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    sparse: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Trains a network while more and more of its weights become zero.

    Args:
        model: Bundle of the network to make sparse.
        teacher: Bundle of the uncompressed network.
        spec: The job, as `pocketkube spec --explain` tells.
        sparse: Gets the bundle of the sparse network.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "sparsify_weights", spec, {"model": model.path, "teacher": teacher.path}, sparse.path, position
    )
    for name, value in metrics_of(sparse.path).items():
        metrics.log_metric(name, value)
