"""How much faster each case's LiteRT file is than the uncompressed one's, on a machine that is idle."""

from collections.abc import Sequence
from pathlib import Path

from pocketkube.benchmarking import benchmark
from pocketkube.errors import UserError
from pocketkube.files.records import text_of
from pocketkube.files.whole import write_text
from pocketkube.spec.sections import Benchmark
from tests.benchmarks.peers.cases import Case
from tests.benchmarks.peers.job import DENSE_FILE, FILE
from tests.benchmarks.peers.result import LATENCY, LatencyFacts, finished
from tests.benchmarks.peers.runner import dense_folder, folder_of

# Medians of fewer runs differ by more than what is compared.
RUNS = 100


def measure(chosen: Sequence[Case], output: Path) -> None:
    """Measures what has not been: the two files in turn, in one process, on one thread."""
    for case in chosen:
        folder = folder_of(case, output)
        result = finished(folder)
        if result is None or result.cannot or (folder / LATENCY).is_file():
            continue
        dense = dense_folder(output, case.network, case.seed) / DENSE_FILE
        try:
            report = benchmark([dense, folder / FILE], Benchmark(runs=RUNS, threads=(1,)))
        except UserError as error:
            print(f"{case.told}: {error}")
            continue
        before, after = report.files
        facts = LatencyFacts(
            latency_ms=after.latency_ms.p50,
            dense_latency_ms=before.latency_ms.p50,
            ratio=report.latency_ratio or before.latency_ms.p50 / after.latency_ms.p50,
            interval=report.latency_ratio_interval,
        )
        write_text(folder / LATENCY, text_of(facts))
        print(f"{case.told}: {facts.ratio:.2f}x")
        for warning in report.load.warnings:
            print(f"  {warning}")
