"""What several nodes measured becomes one report, which promises no more than each of them."""

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from pocketkube.benchmarking import render_table
from pocketkube.benchmarking.environment import Environment
from pocketkube.benchmarking.intervals import Estimate
from pocketkube.benchmarking.machine_load import Activity, Load
from pocketkube.benchmarking.merging import merge_reports
from pocketkube.benchmarking.results import (
    BenchmarkReport,
    FileFigures,
    Percentiles,
    benchmark_document,
    load_benchmark,
)
from pocketkube.errors import UserError
from pocketkube.measures import HeadScore


def file(name: str, ms: float, score: float = 0.9, size_bytes: int = 1000) -> FileFigures:
    times = Percentiles(ms, 1.2 * ms, 1.5 * ms, (0.95 * ms, 1.05 * ms))
    return FileFigures(
        file=name,
        format="float32",
        score=score,
        heads=(HeadScore("y", "accuracy", score),),
        size_bytes=size_bytes,
        gzip_bytes=900,
        latency_ms=times,
        threads={"1": times},
        latency_samples_ms=(ms, ms),
        load_ms=ms,
        peak_memory_bytes=int(1000 * ms),
        op_latency_ms={},
    )


def report(
    node: str,
    before_ms: float,
    ratio: float,
    cpu: str = "Arm Cortex-A76",
    warnings: tuple[str, ...] = (),
    emulated_on: str | None = None,
    **of_result: float,
) -> BenchmarkReport:
    estimate = Estimate(ratio, 0.9 * ratio, 1.1 * ratio)
    return BenchmarkReport(
        files=(file("a", before_ms), file("b", before_ms / ratio, **of_result)),  # type: ignore[arg-type]
        latency_ratio=ratio,
        latency_ratio_interval=(estimate.low, estimate.high),
        latency_ratios={"1": estimate},
        load=Load(Activity(4, 0.1, None), 0.1, 1.0, warnings, None, bool(warnings)),
        reference_threads=1,
        score_name="accuracy",
        examples=60,
        environment=Environment(
            cpu, ("asimddp",), 4, "aarch64", emulated_on, "3.11", {}, "2026", node=node
        ),
    )


def test_the_median_node_counts_within_the_ends_of_all_intervals() -> None:
    merged = merge_reports([report("n1", 10, 2.0), report("n2", 12, 3.0), report("n3", 30, 2.5)])
    assert merged.latency_ratio == pytest.approx(2.5)
    assert merged.latency_ratio_interval == pytest.approx((1.8, 3.3))
    assert merged.latency_ratios["1"].value == pytest.approx(2.5)
    assert merged.files[0].latency_ms.p50 == 12
    assert merged.files[0].latency_ms.p50_interval == pytest.approx((9.5, 31.5))
    # 5, 4 and 12 ms: single runs are n1's, like nothing else that is not merged.
    assert merged.files[1].latency_samples_ms == (5.0, 5.0)
    assert merged.environment.node == "n1, n2, n3"
    assert [each.environment.node for each in merged.nodes] == ["n1", "n2", "n3"]


def test_twice_as_fast_and_half_as_fast_is_the_same() -> None:
    assert merge_reports([report("n1", 9, 2.0), report("n2", 9, 0.5)]).latency_ratio == pytest.approx(1)


def test_the_interval_holds_the_median_of_true_ratios_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    for count in (2, 3, 5):
        hits = 0
        for _ in range(400):
            true = np.exp(rng.normal(0.7, rng.choice([0.0, 0.02, 0.3]), count))
            seen = true * np.exp(rng.normal(0, 0.05, count))
            reports = []
            for number, ratio in enumerate(seen):
                one = report(f"n{number}", 10, float(ratio))
                ends = Estimate(ratio, ratio * np.exp(-0.098), ratio * np.exp(0.098))
                reports.append(dataclasses.replace(one, latency_ratios={"1": ends}))
            low, high = merge_reports(reports).latency_ratio_interval or (0, 0)
            hits += low <= np.exp(np.median(np.log(true))) <= high
        assert hits / 400 > 0.94


def test_the_score_is_one_that_every_node_keeps() -> None:
    merged = merge_reports([report("n1", 10, 2), report("n2", 10, 2, score=0.88)])
    assert merged.files[1].score == 0.88
    assert merged.files[1].heads[0].score == 0.88


def test_doubts_of_each_node_are_the_merged_reports() -> None:
    merged = merge_reports(
        [report("n1", 10, 2, warnings=("It was hot.",)), report("n2", 10, 2, emulated_on="x86_64")]
    )
    assert merged.load.warnings == ("n1: It was hot.",)
    assert merged.load.throttled is True
    assert merged.environment.emulated_on == "x86_64"
    mixed = merge_reports([report("n1", 10, 2), report("n2", 20, 2, cpu="Arm Cortex-A53")])
    (said,) = mixed.load.warnings
    assert "n1 is Arm Cortex-A76, n2 is Arm Cortex-A53" in said


def test_one_node_is_itself_and_other_files_are_refused() -> None:
    one = report("n1", 10, 2)
    assert merge_reports([one]) is one
    with pytest.raises(UserError, match="other files than each other"):
        merge_reports([one, report("n2", 10, 2, size_bytes=7)])


def test_a_node_that_measured_twice_is_no_two_nodes() -> None:
    with pytest.raises(UserError, match="2 different nodes were to measure, and n1 did 2 times"):
        merge_reports([report("n1", 10, 2), report("n1", 11, 2)])


def test_a_merged_report_survives_its_file_and_shows_its_nodes(tmp_path: Path) -> None:
    merged = merge_reports([report("n1", 10, 2), report("n2", 10, 4)])
    (tmp_path / "benchmark.json").write_text(json.dumps(benchmark_document(merged)))
    assert load_benchmark(tmp_path / "benchmark.json") == merged
    screen = io.StringIO()
    Console(file=screen, width=160).print(render_table(merged))
    assert "n1: 5.00 ms, 2.00x faster" in screen.getvalue()
    assert "n2: 2.50 ms, 4.00x faster" in screen.getvalue()


def test_the_part_of_the_pixels_that_are_right_stands_beside_the_score(tmp_path: Path) -> None:
    plain = report("n1", 10, 2)
    heads = (HeadScore("y", "mean_iou", 0.6, None, (("pixel accuracy", 0.912),)),)
    files = tuple(dataclasses.replace(each, score=0.6, heads=heads) for each in plain.files)
    found = dataclasses.replace(plain, files=files, score_name="mean_iou")
    (tmp_path / "benchmark.json").write_text(json.dumps(benchmark_document(found)))
    assert load_benchmark(tmp_path / "benchmark.json") == found
    screen = io.StringIO()
    Console(file=screen, width=160).print(render_table(found))
    lines = screen.getvalue().splitlines()
    assert any("mean IoU" in line and "60.00 %" in line for line in lines)
    assert any("pixel accuracy" in line and "91.20 %" in line for line in lines)
