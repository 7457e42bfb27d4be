"""KFP component: finds each layer's kept channels, sparsity or bits under the target."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def search_ratios(
    model: dsl.Input[dsl.Model],
    dataset: dict,
    search: dict,
    stages: list,
    ratios: dsl.Output[dsl.Artifact],
    trials: dsl.Output[dsl.Artifact],
    curve: dsl.Output[dsl.HTML],
    metrics: dsl.Output[dsl.Metrics],
    teacher: dsl.Input[dsl.Model] = None,
    target: dict = {},
    training: dict = {},
    seed: int = 0,
    imports: list = [],
    cluster: dict = {},
    held: str = "",
) -> None:
    """Finds each layer's kept channels, sparsity or bits under the target, for the stages that follow.

    Args:
        model: Bundle of the network that the first of those stages takes.
        dataset: Where the examples are, as in {builtin: digits}.
        search: What is searched, as in {over: [prune_channels], trials: 50}.
        stages: Settings of the stages that it decides; of all stages where the file is the budget.
        ratios: Gets the folder with ratios.yaml, which those stages take, and all else that was found.
        trials: Gets the table of trials, as CSV.
        curve: Gets how good the best trial grew.
        metrics: Gets the best score and its costs.
        teacher: Bundle of the uncompressed network; the network itself if it is left out.
        target: What the compressed network has to reach, as in {speedup: 2}.
        training: How networks are trained, for trials that fine-tune; empty for the defaults.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        cluster: Where trials run, as in a spec; empty for this task's pod.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    import shutil
    from pathlib import Path

    from pocketkube.files.layout import CURVE_FILE, TRIALS_FILE
    from pocketkube.stages.component import run_component, search_metrics_of

    run_component(
        "search_ratios",
        {
            "dataset": dataset,
            "search": search,
            "stages": stages,
            "target": target,
            "training": training,
            "seed": seed,
            "imports": imports,
        },
        ratios.path,
        {"model": model, "teacher": teacher},
        cluster=cluster,
    )
    shutil.copyfile(Path(ratios.path) / TRIALS_FILE, trials.path)
    shutil.copyfile(Path(ratios.path) / CURVE_FILE, curve.path)
    for name, value in search_metrics_of(ratios.path).items():
        metrics.log_metric(name, value)
