"""KFP component: puts weights and activations on evenly spaced levels, trained for it."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def quantize_weights(
    model: dsl.Input[dsl.Model],
    teacher: dsl.Input[dsl.Model],
    spec: dict,
    quantized: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Puts weights and activations on evenly spaced levels and trains the network with them.

    Args:
        model: Bundle of the network to quantise.
        teacher: Bundle of the uncompressed network.
        spec: The job, as `pocketkube spec --explain` tells.
        quantized: Gets the bundle of the quantised network.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "quantize_weights",
        spec,
        {"model": model.path, "teacher": teacher.path},
        quantized.path,
        position,
    )
    for name, value in metrics_of(quantized.path).items():
        metrics.log_metric(name, value)
