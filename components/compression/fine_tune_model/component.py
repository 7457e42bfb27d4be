"""KFP component: trains a compressed network on, with the uncompressed one as teacher."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fine_tune_model(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    tuned: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Trains a compressed network on, with the uncompressed one as teacher.

    Args:
        model: Bundle of the network to train on.
        teacher: Bundle of the uncompressed network.
        spec: The job, as `pocketkube spec --explain` tells.
        tuned: Gets the bundle of the trained network.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "fine_tune_model", spec, {"model": model.path, "teacher": teacher.path}, tuned.path, position
    )
    for name, value in metrics_of(tuned.path).items():
        metrics.log_metric(name, value)
