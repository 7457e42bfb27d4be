"""KFP component: trains a compressed network on, with the uncompressed one as teacher."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def fine_tune_model(
    model: dsl.Input[dsl.Model],
    dataset: dict,
    tuned: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    teacher: dsl.Input[dsl.Model] = None,
    settings: dict = {},
    task: dict = {},
    training: dict = {},
    distillation: dict = {},
    seed: int = 0,
    imports: list = [],
    cluster: dict = {},
    held: str = "",
) -> None:
    """Trains a compressed network on, with the uncompressed one as teacher.

    Args:
        model: Bundle of the network to train on.
        dataset: Where the examples are, as in {builtin: digits}.
        tuned: Gets the bundle of the trained network.
        metrics: Gets the score, multiply-adds and parameters.
        teacher: Bundle of the uncompressed network; the network itself if it is left out.
        settings: This stage's settings, as under its name in a spec; empty for the defaults.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        training: How networks are trained; empty for the defaults.
        distillation: The teachers' part; empty for the defaults.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        cluster: Where the training runs, and with what; it changes no result. Empty for the defaults.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "fine_tune_model",
        {
            "dataset": dataset,
            "settings": settings,
            "task": task,
            "training": training,
            "distillation": distillation,
            "seed": seed,
            "imports": imports,
        },
        tuned.path,
        {"model": model, "teacher": teacher},
        cluster=cluster,
    )
    for name, value in metrics_of(tuned.path).items():
        metrics.log_metric(name, value)
