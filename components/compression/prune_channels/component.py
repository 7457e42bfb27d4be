"""KFP component: cuts the least important channels of a network until it reaches the target."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def prune_channels(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    pruned: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Cuts the least important channels of a network until it reaches the target.

    Args:
        model: Bundle of the network to prune.
        teacher: Bundle of the uncompressed network; teaches where groups are fine-tuned in turn.
        spec: The job, as `pocketkube spec --explain` tells.
        pruned: Gets the bundle of the smaller network.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "prune_channels", spec, {"model": model.path, "teacher": teacher.path}, pruned.path, position
    )
    for name, value in metrics_of(pruned.path).items():
        metrics.log_metric(name, value)
