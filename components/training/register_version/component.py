"""KFP component: judges a new version beside the deployed one, and deploys it if it passed."""

import os
from typing import NamedTuple

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def register_version(
    compressed: dsl.Input[dsl.Model],
    litert: dsl.Input[dsl.Model],
    baseline: dsl.Input[dsl.Model],
    measured: dsl.Input[dsl.Artifact],
    retraining: dict,
    decision: dict,
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],
    work: str = "",
) -> NamedTuple("Registered", [("result", str), ("version", str)]):  # type: ignore[valid-type]
    """Judges a new version beside the deployed one, keeps it, and deploys it if it passed.

    Args:
        compressed: Bundle of the compressed network.
        litert: Its LiteRT file.
        baseline: The file that it was measured beside.
        measured: What benchmark_litert measured.
        retraining: The settings, as a retraining.yaml holds them.
        decision: What was decided, and why.
        report: Gets the decision, the gate and the lineage, a page that needs no network.
        summary: Gets the same, short.
        metrics: Gets the figures that the gate looked at.
        work: The s3:// place where finished steps were kept; they are removed.
    """
    from pathlib import Path

    from pocketkube.retraining.tasks import gate_figures_of, register_task
    from pocketkube.stages.component import ending_in_one_line

    with ending_in_one_line():
        outcome = register_task(
            retraining,
            decision,
            Path(compressed.path),
            Path(litert.path),
            Path(baseline.path),
            Path(measured.path),
            work,
            Path(report.path),
            Path(summary.path),
        )
    for name, value in gate_figures_of(outcome).items():
        metrics.log_metric(name, value)
    return (outcome.result, outcome.decision.version)
