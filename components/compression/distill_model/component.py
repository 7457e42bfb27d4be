"""KFP component: trains a small network of another architecture, the uncompressed one its teacher."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def distill_model(
    model: dsl.Input[dsl.Model],
    settings: dict,
    dataset: dict,
    student: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    teacher: dsl.Input[dsl.Model] = None,
    task: dict = {},
    training: dict = {},
    distillation: dict = {},
    seed: int = 0,
    imports: list = [],
    cluster: dict = {},
    held: str = "",
) -> None:
    """Trains a small network of another architecture, with the uncompressed one as teacher.

    Args:
        model: Bundle of the network that the small one takes the place of.
        settings: This stage's settings, as under its name in a spec; empty for the defaults.
        dataset: Where the examples are, as in {builtin: digits}.
        student: Gets the bundle of the small network.
        metrics: Gets the score, multiply-adds and parameters.
        teacher: Bundle of the uncompressed network; the network itself if it is left out.
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
        "distill_model",
        {
            "settings": settings,
            "dataset": dataset,
            "task": task,
            "training": training,
            "distillation": distillation,
            "seed": seed,
            "imports": imports,
        },
        student.path,
        {"model": model, "teacher": teacher},
        cluster=cluster,
    )
    for name, value in metrics_of(student.path).items():
        metrics.log_metric(name, value)
