"""KFP component: cuts the least important channels of a network until it reaches the target."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def prune_channels(
    model: dsl.Input[dsl.Model],
    dataset: dict,
    pruned: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    teacher: dsl.Input[dsl.Model] = None,
    ratios: dsl.Input[dsl.Artifact] = None,
    settings: dict = {},
    target: dict = {},
    task: dict = {},
    training: dict = {},
    distillation: dict = {},
    seed: int = 0,
    imports: list = [],
    stages: list = [],
    benchmark: dict = {},
    held: str = "",
) -> None:
    """Cuts the least important channels of a network until it reaches the target.

    Args:
        model: Bundle of the network to prune.
        dataset: Where the examples are, as in {builtin: digits}.
        pruned: Gets the bundle of the smaller network.
        metrics: Gets the score, multiply-adds and parameters.
        teacher: Bundle of the uncompressed network; the network itself if it is left out.
        ratios: What search_ratios has found for its layers, in place of settings.
        settings: This stage's settings, as under its name in a spec; empty for the defaults.
        target: What the compressed network has to reach, as in {speedup: 2}.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        training: How networks are trained; empty for the defaults.
        distillation: The teachers' part; empty for the defaults.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        stages: Settings of all of the job's stages, where the target is a file's size or latency.
        benchmark: How files are measured, for a target of latency.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    from pocketkube.stages.component import metrics_of, run_component

    run_component(
        "prune_channels",
        {
            "dataset": dataset,
            "settings": settings,
            "target": target,
            "task": task,
            "training": training,
            "distillation": distillation,
            "seed": seed,
            "imports": imports,
            "stages": stages,
            "benchmark": benchmark,
        },
        pruned.path,
        {"model": model, "teacher": teacher, "ratios": ratios},
    )
    for name, value in metrics_of(pruned.path).items():
        metrics.log_metric(name, value)
