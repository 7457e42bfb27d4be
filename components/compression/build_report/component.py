"""KFP component: gathers all figures of a job into one HTML report."""

import os

from kfp import dsl


@dsl.component(base_image=os.environ["POCKETKUBE_IMAGE"], install_kfp_package=False)
def build_report(
    uncompressed: dsl.Input[dsl.Model],
    baseline: dsl.Input[dsl.Model],
    result: dsl.Input[dsl.Model],
    measured: dsl.Input[dsl.Artifact],
    model: str,
    stages: list,
    report: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    figures: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    searched: dsl.Input[dsl.Artifact] = None,
    dataset: dict = {},
    width: float = 1.0,
    task: dict = {},
    target: dict = {},
    search: dict = {},
    training: dict = {},
    distillation: dict = {},
    benchmark: dict = {},
    cluster: dict = {},
    seed: int = 0,
    imports: list = [],
) -> None:
    """Gathers all figures of a job into one HTML report.

    Args:
        uncompressed: Bundle of the uncompressed network.
        baseline: What export_litert made of the uncompressed network.
        result: What it made of the compressed one.
        measured: What benchmark_litert measured.
        model: A built-in network's name, or the path of a .keras file.
        stages: Settings of all of the job's stages, each with its name.
        report: Gets the report, a page that needs no network.
        summary: Gets the figures before and after as a table.
        figures: Gets result.json: the same for machines.
        metrics: Gets the figures of the result that people ask for first.
        searched: What search_ratios found, where there was a search.
        dataset: Where the examples are, as in {builtin: digits}; empty where there were none.
        width: Width multiplier of a built-in network.
        task: What the labels are, where they do not tell, as in {landmarks: {}}.
        target: What the compressed network has to reach, as in {speedup: 2}.
        search: What was searched for, and how; empty where nothing was.
        training: How networks are trained; empty for the defaults.
        distillation: The teachers' part; empty for the defaults.
        benchmark: How files are measured; empty for the defaults.
        cluster: Where tasks ran, and with what; the report repeats it.
        seed: Everything random follows from it.
        imports: Modules with layers of your own, by name or as {name, source}; empty for none.
    """
    import json
    import shutil
    import tempfile
    from pathlib import Path

    from pocketkube.report.markdown import markdown_of
    from pocketkube.report.result import load_result
    from pocketkube.stages.component import run_component

    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report"
        run_component(
            "build_report",
            {
                "model": model,
                "dataset": dataset,
                "stages": stages,
                "width": width,
                "task": task,
                "target": target,
                "search": search,
                "training": training,
                "distillation": distillation,
                "benchmark": benchmark,
                "cluster": cluster,
                "seed": seed,
                "imports": imports,
            },
            str(made),
            {
                "uncompressed": uncompressed,
                "baseline": baseline,
                "result": result,
                "measured": measured,
                "searched": searched,
            },
        )
        shutil.copyfile(made / "report.html", report.path)
        shutil.copyfile(made / "result.json", figures.path)
    Path(summary.path).write_text(markdown_of(load_result(Path(figures.path))), "utf-8")
    found = json.loads(Path(figures.path).read_text("utf-8"))
    certain = (
        "" if found["speedup_bound"] == "exact" else f"_{found['speedup_bound']}".replace(" ", "_")
    )
    metrics.log_metric(f"speedup{certain}", found["speedup"])
    # A ratio under emulation is never to stand beside a real device's under one name.
    ratio = "emulated_latency_ratio" if found["environment"]["emulated_on"] else "latency_ratio"
    metrics.log_metric(ratio, found["latency_ratio"])
    low, high = found["latency_ratio_interval"]
    metrics.log_metric(f"{ratio}_low", low)
    metrics.log_metric(f"{ratio}_high", high)
    metrics.log_metric("size_bytes", found["after"]["size_bytes"])
    if found["after"]["score"] is not None:
        metrics.log_metric(found["task"]["score_name"], found["after"]["score"])
    if len(found["after"]["heads"]) > 1:
        for head in found["after"]["heads"]:
            metrics.log_metric(f"{head['name']}_{head['score_name']}", head["score"])
