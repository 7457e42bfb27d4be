"""The stages that measure a device; they run where there is neither TensorFlow nor Keras."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pocketkube.benchmarking import BenchmarkReport, benchmark
from pocketkube.benchmarking.environment import NODE
from pocketkube.benchmarking.merging import merge_reports
from pocketkube.benchmarking.processor import processor
from pocketkube.benchmarking.required_node import asked_cores, kept_on
from pocketkube.benchmarking.results import benchmark_document, load_benchmark
from pocketkube.files.layout import BENCHMARK_FILE, LITERT_FILE, SAMPLES_FILE, TABLE_FILE
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.latency_table.measuring import measure_table
from pocketkube.latency_table.network_files import read_networks
from pocketkube.latency_table.table import write_table
from pocketkube.spec.sections import BenchmarkPods
from pocketkube.stages.configs import BenchmarkLitertConfig, MeasureLatencyTableConfig


def benchmark_litert(
    config: BenchmarkLitertConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Measures the baseline's and the result's file side by side, if this is the machine asked for."""
    files = [inputs[role] / LITERT_FILE for role in ("baseline", "result")]
    with _on_asked_cores(config.cluster.benchmark):
        report = benchmark(files, config.benchmark, inputs["baseline"] / SAMPLES_FILE)
    _write_report(report, output)


def merge_benchmarks(parts: Sequence[Path], output: Path) -> None:
    """Makes one output of `benchmark_litert` of those of several nodes.

    Raises:
        UserError: If one of them is none, or they are of other files.
    """
    _write_report(merge_reports([load_benchmark(part / BENCHMARK_FILE) for part in parts]), output)


def measure_latency_table(
    config: MeasureLatencyTableConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Measures a latency table on the files that `prepare_latency_table` made."""
    scratch.mkdir(parents=True, exist_ok=True)
    with _on_asked_cores(config.cluster.benchmark):
        table = measure_table(
            read_networks(inputs["networks"]),
            scratch / TABLE_FILE,
            threads=config.threads,
            rounds=config.rounds,
        )
    with replaced_folder(output) as folder:
        write_table(table, folder / TABLE_FILE)


def _write_report(report: BenchmarkReport, output: Path) -> None:
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
