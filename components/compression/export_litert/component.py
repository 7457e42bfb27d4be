"""KFP component: converts a network to LiteRT and checks the file against it on test examples."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def export_litert(
    model: dsl.Input[dsl.Model],
    dataset: dict,
    litert: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    settings: dict = {},
    seed: int = 0,
    imports: list = [],
    held: str = "",
) -> None:
    """Converts a network to LiteRT and checks the file against it on test examples.

    Args:
        model: Bundle of the network.
        dataset: Where the examples are, as in {builtin: digits}.
        litert: Gets model.tflite, samples.npz and bundle.json.
        metrics: Gets the file's size, and how far it agrees with the network.
        settings: Settings, with its name, of the stage that says what the file's numbers are, as in
            {name: quantize_int8}; empty for floats.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
        held: Changes where what its addresses hold does, for Kubeflow's cache to see.
    """
    from pocketkube.stages.component import file_metrics_of, format_of, run_component

    run_component(
        "export_litert",
        {
            "dataset": dataset,
            "settings": settings,
            "seed": seed,
            "imports": imports,
        },
        litert.path,
        {"model": model},
    )
    for name, value in file_metrics_of(litert.path).items():
        metrics.log_metric(name, value)
    litert.metadata["format"] = format_of(litert.path)
