"""The stage that measures LiteRT files; it runs where there is neither TensorFlow nor Keras."""

import json
from collections.abc import Mapping
from pathlib import Path

from pocketkube.benchmarking import benchmark
from pocketkube.benchmarking.results import benchmark_document
from pocketkube.files import replaced_folder, write_text
from pocketkube.layout import BENCHMARK_FILE, LITERT_FILE, SAMPLES_FILE
from pocketkube.stages.configs import BenchmarkLitertConfig


def benchmark_litert(
    config: BenchmarkLitertConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Measures the baseline's and the result's file side by side."""
    files = [inputs[role] / LITERT_FILE for role in ("baseline", "result")]
    report = benchmark(files, config.benchmark, inputs["baseline"] / SAMPLES_FILE)
    with replaced_folder(output) as folder:
        write_text(folder / BENCHMARK_FILE, json.dumps(benchmark_document(report), indent=1))
