"""KFP component: measures two LiteRT files side by side, on the nodes that are asked for."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def benchmark_litert(
    baseline: dsl.Input[dsl.Model],
    result: dsl.Input[dsl.Model],
    figures: dsl.Output[dsl.Artifact],
    benchmark: dict = {},
    cluster: dict = {},
) -> None:
    """Measures two LiteRT files side by side, on the nodes that cluster.benchmark asks for.

    Where these are of another architecture than the component's own pod, or several, a Job measures
    there, is followed, and its figures are brought back. Nothing is reported from a node that is not
    what was asked for.

    Args:
        baseline: What export_litert made of the uncompressed network.
        result: What it made of the compressed one.
        figures: Gets benchmark.json.
        benchmark: How files are measured; empty for the defaults.
        cluster: On which nodes; empty to measure where this runs.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "benchmark_litert",
        {
            "benchmark": benchmark,
            "cluster": cluster,
        },
        figures.path,
        {"baseline": baseline, "result": result},
    )
