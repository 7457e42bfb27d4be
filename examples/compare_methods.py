"""Compares compression methods: runs one spec with the stages of each of them.

    python examples/compare_methods.py examples/fashion_mnist.yaml METHODS --output runs/methods

METHODS is examples/comparisons/methods.yaml or a file like it.

Writes table.md: the score on the test set in percent (an error unless it is a classifier's), of the
LiteRT file; what the file takes, as it is and after gzip, and what model.packed; and how much faster
the file is than the uncompressed one beside it, in the median pair by pair: measured when nothing
trains any more, one job after the other. What is finished is not run again.
"""

import argparse
import itertools
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from jobs import mean_and_spread, results_of

from pocketkube.benchmarking import benchmark
from pocketkube.cli.ending import plain_ending
from pocketkube.errors import UserError
from pocketkube.files.whole import write_text
from pocketkube.measures import wording_of
from pocketkube.report.result import Result, SideFigures
from pocketkube.spec import document_of, load_spec, resolve_paths
from pocketkube.spec.sections import Benchmark

# Medians of fewer runs differ by more than what is compared.
LEAST_RUNS = 100
HEAD = ("method", "score", "file, kB", "gzip, kB", "model, kB", "latency")


def main() -> None:
    """Runs what is missing, as many at a time as there are cores, and tells all of it."""
    options = _options()
    with plain_ending():
        base = resolve_paths(load_spec(options.spec), options.spec.resolve().parent)
        common = {k: v for k, v in document_of(base).items() if k not in ("target", "stages")}
        methods = yaml.safe_load(options.methods.read_text("utf-8"))
        names = _chosen(methods, options.only)
        # Seeds turn fastest: jobs that run at once do not train the same network.
        runs = list(itertools.product(names, options.seeds))
        specs = {f"{name}-{seed}": common | {"seed": seed} | methods[name] for name, seed in runs}
        found = results_of(specs, options.output, options.jobs)
        settings = Benchmark(runs=max(LEAST_RUNS, base.benchmark.runs), threads=(1,))
        measured = [
            result.model_copy(update={"latency_ratio": _latency_ratio(options.output / name, settings)})
            for name, result in found.items()
        ]
        table = render(dict(zip(runs, measured, strict=True)))
        write_text(options.output / "table.md", table)
        print(table)


def _chosen(methods: Mapping[str, Any], only: list[str] | None) -> list[str]:
    unknown = [name for name in only or () if name not in methods]
    if unknown:
        raise UserError(
            f"--only: there is no method {', '.join(unknown)}; there are: {', '.join(methods)}."
        )
    return [name for name in methods if name in (only or methods)]


def _latency_ratio(folder: Path, settings: Benchmark) -> float:
    """How much faster a finished run's file is than the uncompressed one beside it."""
    kept = folder / "latency.json"
    if not kept.is_file():
        report = benchmark([folder / "baseline.tflite", folder / "model.tflite"], settings)
        latency = {
            "latency_ratio": report.latency_ratio,
            "latency_ratio_interval": report.latency_ratio_interval,
            "runs": len(report.files[0].latency_samples_ms),
            "warnings": report.load.warnings,
        }
        for warning in report.load.warnings:
            print(f"{folder.name}: {warning}", file=sys.stderr)
        write_text(kept, json.dumps(latency))
    return float(json.loads(kept.read_text("utf-8"))["latency_ratio"])


def render(results: Mapping[tuple[str, int], Result]) -> str:
    """A Markdown table with a row for each method.

    Args:
        results: Figures by method and seed; the latency is that of an idle machine.
    """
    wording = wording_of(next(iter(results.values())).task.score_name)
    dense = {seed: result.before for (_, seed), result in results.items()}
    rows = [HEAD, ("---",) * len(HEAD), _row("(dense)", list(dense.values()), [1.0], wording)]
    for name in dict.fromkeys(name for name, _ in results):
        ours = [result for (method, _), result in results.items() if method == name]
        ratios = [result.latency_ratio or 1.0 for result in ours]
        rows.append(_row(name, [result.after for result in ours], ratios, wording))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(name: str, figures: list[SideFigures], ratios: list[float], wording: Any) -> tuple[str, ...]:
    sizes = ("size_bytes", "gzip_bytes", "model_bytes")
    bytes_of = [[getattr(figure, key) for figure in figures] for key in sizes]
    return (
        name,
        mean_and_spread([figure.score or 0.0 for figure in figures], wording),
        *(f"{mean(values) / 1000:.0f}" if None not in values else "" for values in bytes_of),
        f"{mean(ratios):.1f}x",
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares compression methods on one spec.")
    parser.add_argument("spec", type=Path, help="the job; its stages and target are not looked at")
    parser.add_argument("methods", type=Path, help="YAML: for each name, stages and what else differs")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for all runs and the table"
    )
    parser.add_argument("--only", nargs="+", help="names of methods; default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="default: 0")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="jobs that train at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
