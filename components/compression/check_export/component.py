"""KFP component: tries the conversions that a job ends in, before anything is trained."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def check_export(
    model: str,
    dataset: dict,
    check: dsl.Output[dsl.Artifact],
    width: float = 1.0,
    task: dict = {},
    training: dict = {},
    target: dict = {},
    stages: list = [],
    seed: int = 0,
    imports: list = [],
    held: str = "",
) -> None:
    """Tries the conversions that a job ends in, before anything is trained.

    Args:
        model: A built-in network's name, or the path of a .keras file.
        dataset: Where the examples are, as in {builtin: digits}.
        check: Gets check.json: the format, and the size of the file before anything is cut.
        width: Width multiplier of a built-in network.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        training: How networks are trained; empty for the defaults.
        target: What to reach; the latency table of another device that it names is tried, too.
        stages: Settings of all of the job's stages, each with its name.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "check_export",
        {
            "model": model,
            "dataset": dataset,
            "width": width,
            "task": task,
            "training": training,
            "target": target,
            "stages": stages,
            "seed": seed,
            "imports": imports,
        },
        check.path,
    )
