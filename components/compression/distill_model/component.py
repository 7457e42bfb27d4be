"""KFP component: trains a small network of another architecture, the uncompressed one its teacher."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def distill_model(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    student: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Trains a small network of another architecture, with the uncompressed one as teacher.

    Args:
        model: Bundle of the network that the small one takes the place of.
        teacher: Bundle of the uncompressed network.
        spec: The job, as `pocketkube spec --explain` tells.
        student: Gets the bundle of the small network.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "distill_model", spec, {"model": model.path, "teacher": teacher.path}, student.path, position
    )
    for name, value in metrics_of(student.path).items():
        metrics.log_metric(name, value)
