"""KFP component: measures two LiteRT files side by side, on the machine that this runs on."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def benchmark_litert(
    baseline: dsl.Input[dsl.Model],
    result: dsl.Input[dsl.Model],
    figures: dsl.Output[dsl.Artifact],
    benchmark: dict = {},
) -> None:
    """Measures two LiteRT files side by side, on the machine that this runs on.

    Args:
        baseline: What export_litert made of the uncompressed network.
        result: What it made of the compressed one.
        figures: Gets benchmark.json.
        benchmark: How files are measured; empty for the defaults.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "benchmark_litert",
        {
            "benchmark": benchmark,
        },
        figures.path,
        {"baseline": baseline, "result": result},
    )
