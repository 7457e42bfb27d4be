"""KFP component: gathers all figures of a job into one HTML report."""

import os

from kfp import dsl

IMAGE = os.environ.get("POCKETKUBE_IMAGE", "pocketkube:0.1.0")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def build_report(
    teacher: dsl.Input[dsl.Model],
    model: dsl.Input[dsl.Model],
    baseline: dsl.Input[dsl.Model],
    result: dsl.Input[dsl.Model],
    benchmark: dsl.Input[dsl.Artifact],
    spec: dict,
    report: dsl.Output[dsl.HTML],
    figures: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> None:
    """Gathers all figures of a job into one HTML report.

    Args:
        teacher: Bundle of the uncompressed network.
        model: Bundle of the compressed one.
        baseline: What export_litert made of the uncompressed network.
        result: What it made of the compressed one.
        benchmark: What benchmark_litert measured.
        spec: The job, as `pocketkube spec --explain` tells.
        report: Gets the report, a page that needs no network.
        figures: Gets result.json: the same for machines.
        metrics: Gets the figures of the result that people ask for first.
    """
    import json
    import shutil
    import tempfile
    from pathlib import Path

    from pocketkube.stages.component import run_component

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report"
        inputs = {"teacher": teacher, "model": model, "baseline": baseline, "result": result}
        paths = {role: artifact.path for role, artifact in inputs.items()}
        run_component("build_report", spec, paths | {"benchmark": benchmark.path}, str(made))
        shutil.copyfile(made / "report.html", report.path)
        shutil.copyfile(made / "result.json", figures.path)
    found = json.loads(Path(figures.path).read_text("utf-8"))
    certain = (
        "" if found["speedup_bound"] == "exact" else f"_{found['speedup_bound']}".replace(" ", "_")
    )
    metrics.log_metric(f"speedup{certain}", found["speedup"])
    metrics.log_metric("latency_ratio", found["latency_ratio"])
    low, high = found["latency_ratio_interval"]
    metrics.log_metric("latency_ratio_low", low)
    metrics.log_metric("latency_ratio_high", high)
    metrics.log_metric("size_bytes", found["after"]["size_bytes"])
    if found["after"]["score"] is not None:
        metrics.log_metric(found["task"]["score_name"], found["after"]["score"])
    if len(found["after"]["heads"]) > 1:
        for head in found["after"]["heads"]:
            metrics.log_metric(f"{head['name']}_{head['score_name']}", head["score"])
