"""KFP component: converts a network to LiteRT and checks the file against it on test examples."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def export_litert(
    model: dsl.Input[dsl.Model],
    spec: dict,
    litert: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    position: int = -1,
) -> None:
    """Converts a network to LiteRT and checks the file against it on test examples.

    Args:
        model: Bundle of the network.
        spec: The job, as `pocketkube spec --explain` tells.
        litert: Gets model.tflite, samples.npz and bundle.json.
        metrics: Gets the score, multiply-adds and parameters.
        position: Place of this stage's settings in the spec's stages, from 0; -1 for none.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component("export_litert", spec, {"model": model.path}, litert.path, position)
    for name, value in metrics_of(litert.path).items():
        metrics.log_metric(name, value)
