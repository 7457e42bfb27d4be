"""KFP component: trains a built-in network from scratch, or takes a .keras file as it is."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def train_model(
    model: str,
    dataset: dict,
    trained: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    width: float = 1.0,
    task: dict = {},
    training: dict = {},
    seed: int = 0,
    imports: list = [],
    cluster: dict = {},
    held: str = "",
) -> None:
    """Trains a built-in network from scratch, or takes a .keras file as it is.

    Args:
        model: A built-in network's name, or the path of a .keras file.
        dataset: Where the examples are, as in {builtin: digits}.
        trained: Gets the bundle: model.keras and bundle.json.
        metrics: Gets the score, multiply-adds and parameters.
        width: Width multiplier of a built-in network.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        training: How networks are trained; empty for the defaults.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        cluster: Where the training runs, and with what; it changes no result. Empty for the defaults.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "train_model",
        {
            "model": model,
            "dataset": dataset,
            "width": width,
            "task": task,
            "training": training,
            "seed": seed,
            "imports": imports,
        },
        trained.path,
        cluster=cluster,
    )
    for name, value in metrics_of(trained.path).items():
        metrics.log_metric(name, value)
