"""KFP component: puts weights and activations on evenly spaced levels, trained for it."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def quantize_weights(
    model: dsl.Input[dsl.Model],
    dataset: dict,
    quantized: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    teacher: dsl.Input[dsl.Model] = None,
    ratios: dsl.Input[dsl.Artifact] = None,
    settings: dict = {},
    task: dict = {},
    training: dict = {},
    distillation: dict = {},
    seed: int = 0,
    imports: list = [],
    cluster: dict = {},
    held: str = "",
) -> None:
    """Puts weights and activations on evenly spaced levels and trains the network with them.

    Args:
        model: Bundle of the network.
        dataset: Where the examples are, as in {builtin: digits}.
        quantized: Gets the bundle of the network on levels.
        metrics: Gets the score, multiply-adds and parameters.
        teacher: Bundle of the uncompressed network; the network itself if it is left out.
        ratios: What search_ratios has found for its layers, in place of settings.
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
        "quantize_weights",
        {
            "dataset": dataset,
            "settings": settings,
            "task": task,
            "training": training,
            "distillation": distillation,
            "seed": seed,
            "imports": imports,
        },
        quantized.path,
        {"model": model, "teacher": teacher, "ratios": ratios},
        cluster=cluster,
    )
    for name, value in metrics_of(quantized.path).items():
        metrics.log_metric(name, value)
