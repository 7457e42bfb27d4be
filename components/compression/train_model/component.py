"""KFP component: trains a built-in network from scratch, or takes a .keras file as it is."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def train_model(
    spec: dict,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Trains a built-in network from scratch, or takes a .keras file as it is.

    Args:
        spec: The job, as `pocketkube spec --explain` tells.
        model: Gets the bundle: model.keras and bundle.json.
        metrics: Gets the score, multiply-adds and parameters.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component("train_model", spec, {}, model.path)
    for name, value in metrics_of(model.path).items():
        metrics.log_metric(name, value)
