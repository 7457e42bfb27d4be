"""Merges what several nodes measured of the same files."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from pocketkube.benchmarking.environment import Environment
from pocketkube.benchmarking.intervals import Estimate
from pocketkube.benchmarking.machine_load import Load
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures, Percentiles
from pocketkube.errors import UserError


def merge_reports(reports: Sequence[BenchmarkReport]) -> BenchmarkReport:
    """One report of several nodes', which it contains.

    A time or ratio is the median of the nodes' (of the logarithms of ratios, so that faster and slower
    count alike), and its interval goes from the lowest to the highest end of the nodes' own intervals
    of 95 % confidence. That contains the median of these nodes' true values with at least 95 %: for
    the median to lie below all of the intervals, the node whose true value is least must have one that
    misses it from above, which happens in 2.5 %, and likewise above. It holds for any number of nodes
    and however different they are, which a pooled estimate with a random effect does not: how much
    nodes differ cannot be estimated from two or three. It says nothing of nodes that have not measured.

    The score is the lowest of the nodes', so that each of them keeps it. Single runs are those of the
    node whose time of the last file is the median, or just below.

    Args:
        reports: One report or more, of the same files with the same settings, each of another node.

    Raises:
        UserError: If they are of other files, or two are of one node.
    """
    files = [[(file.file, file.size_bytes) for file in report.files] for report in reports]
    if any(each != files[0] for each in files):
        raise UserError("Nodes measured other files than each other: their figures cannot be merged.")
    if len(reports) == 1:
        return reports[0]
    measured = Counter(report.environment.node for report in reports if report.environment.node)
    for node, times in measured.items():
        if times > 1:
            raise UserError(
                f"{len(reports)} different nodes were to measure, and {node} did {times} times, as no "
                "other one took its pods: ask for fewer cluster.benchmark.nodes, or give "
                "cluster.benchmark the selector and the tolerations of more."
            )
    by_time = sorted(reports, key=lambda report: report.files[-1].latency_ms.p50)
    middle = by_time[(len(reports) - 1) // 2]
    ratios = {
        threads: _ratio([report.latency_ratios[threads] for report in reports])
        for threads in middle.latency_ratios
    }
    ratio = ratios.get(str(middle.reference_threads))
    return replace(
        middle,
        files=tuple(
            _file(of_file, middle.files[place])
            for place, of_file in enumerate(zip(*(r.files for r in reports), strict=True))
        ),
        latency_ratio=ratio.value if ratio else None,
        latency_ratio_interval=(ratio.low, ratio.high) if ratio else None,
        latency_ratios=ratios,
        load=_load(reports),
        environment=_environment(middle.environment, reports),
        nodes=tuple(reports),
    )


def _ratio(estimates: Sequence[Estimate]) -> Estimate:
    value = float(np.exp(np.median([np.log(each.value) for each in estimates])))
    return Estimate(value, min(each.low for each in estimates), max(each.high for each in estimates))


def _file(of_nodes: Sequence[FileFigures], middle: FileFigures) -> FileFigures:
    worst = min(of_nodes, key=lambda figures: figures.score or 0.0)
    return replace(
        middle,
        score=worst.score,
        heads=tuple(
            min(each, key=lambda head: head.score)
            for each in zip(*(figures.heads for figures in of_nodes), strict=True)
        ),
        latency_ms=_percentiles([figures.latency_ms for figures in of_nodes]),
        threads={
            threads: _percentiles([figures.threads[threads] for figures in of_nodes])
            for threads in middle.threads
        },
        load_ms=median(figures.load_ms for figures in of_nodes),
        peak_memory_bytes=int(median(figures.peak_memory_bytes for figures in of_nodes)),
    )


def _percentiles(of_nodes: Sequence[Percentiles]) -> Percentiles:
    def middle(value: Callable[[Percentiles], float]) -> float:
        return median(map(value, of_nodes))

    lows, highs = zip(*(each.p50_interval for each in of_nodes), strict=True)
    return Percentiles(
        middle(lambda p: p.p50),
        middle(lambda p: p.p90),
        middle(lambda p: p.p99),
        (min(lows), max(highs)),
    )


def _load(reports: Sequence[BenchmarkReport]) -> Load:
    """The worst of each figure; warnings of each node, and of nodes that differ."""
    loads = [report.load for report in reports]
    busiest = max(loads, key=lambda load: load.activity.others_cores / load.activity.cores)
    clocks = [load.clock for load in loads if load.clock]
    told = [load.throttled for load in loads]
    throttled = True if True in told else None if None in told else False
    warnings = [
        f"{report.environment.node}: {warning}"
        for report in reports
        for warning in report.load.warnings
    ]
    kinds = {(report.environment.cpu, report.environment.machine) for report in reports}
    if len(kinds) > 1:
        nodes = ", ".join(f"{r.environment.node} is {r.environment.cpu}" for r in reports)
        warnings.append(
            f"The nodes are of several kinds: {nodes}; their median is of none of them. Name one by "
            "cluster.benchmark.cpu_part."
        )
    return Load(
        activity=busiest.activity,
        spread=max(load.spread for load in loads),
        slowdown=max(load.slowdown for load in loads),
        warnings=tuple(warnings),
        clock=max(clocks, key=lambda clock: clock.fall, default=None),
        throttled=throttled,
    )


def _environment(middle: Environment, reports: Sequence[BenchmarkReport]) -> Environment:
    """The middle node's, under the names of all; emulated where any of them is."""
    places = [report.environment for report in reports]
    return replace(
        middle,
        node=", ".join(str(place.node) for place in places),
        emulated_on=next((place.emulated_on for place in places if place.emulated_on), None),
    )
