"""KFP component: measures two LiteRT files side by side, on the machine that this runs on."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def benchmark_litert(
    baseline: dsl.Input[dsl.Model],
    result: dsl.Input[dsl.Model],
    spec: dict,
    figures: dsl.Output[dsl.Artifact],
) -> None:
    """Measures two LiteRT files side by side, on the machine that this runs on.

    Args:
        baseline: What export_litert made of the uncompressed network.
        result: What it made of the compressed one.
        spec: The job, as `pocketkube spec --explain` tells.
        figures: Gets benchmark.json.
    """
    from pocketkube.stages.component import run_component

    run_component(
        "benchmark_litert", spec, {"baseline": baseline.path, "result": result.path}, figures.path
    )
