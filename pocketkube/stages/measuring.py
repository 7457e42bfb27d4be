"""The stage that measures LiteRT files; it runs where there is neither TensorFlow nor Keras."""

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pocketkube.benchmarking import benchmark
from pocketkube.benchmarking.environment import NODE
from pocketkube.benchmarking.processor import processor
from pocketkube.benchmarking.required_node import asked_cores, kept_on
from pocketkube.benchmarking.results import benchmark_document
from pocketkube.files import replaced_folder, write_text
from pocketkube.layout import BENCHMARK_FILE, LITERT_FILE, SAMPLES_FILE
from pocketkube.spec.sections import BenchmarkPods
from pocketkube.stages.configs import BenchmarkLitertConfig


def benchmark_litert(
    config: BenchmarkLitertConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Measures the baseline's and the result's file side by side, if this is the machine asked for."""
    files = [inputs[role] / LITERT_FILE for role in ("baseline", "result")]
    with _on_asked_cores(config.cluster.benchmark):
        report = benchmark(files, config.benchmark, inputs["baseline"] / SAMPLES_FILE)
    with replaced_folder(output) as folder:
        write_text(folder / BENCHMARK_FILE, json.dumps(benchmark_document(report), indent=1))


@contextmanager
def _on_asked_cores(asked: BenchmarkPods) -> Iterator[None]:
    """Keeps to the kind of core that is asked for.

    Raises:
        UserError: If this machine has none.
    """
    with kept_on(asked_cores(asked, processor(), platform.machine(), os.environ.get(NODE))):
        yield
