"""Measures a latency table on the device this runs on."""

import gc
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from math import ceil
from pathlib import Path

import numpy as np

from pocketkube.benchmarking.clock import ClockWatch
from pocketkube.benchmarking.environment import doubts, environment
from pocketkube.benchmarking.machine_load import SLOWED_DOWN, Watch, load_of
from pocketkube.benchmarking.processor import processor
from pocketkube.benchmarking.samples import random_arrays, random_samples
from pocketkube.benchmarking.timing import Rounds
from pocketkube.console.progress import progress
from pocketkube.errors import UserError
from pocketkube.latency_table.fitting import fit_call
from pocketkube.latency_table.levels import levels
from pocketkube.latency_table.operations import (
    NUMBERS_MOVED,
    SizedOperation,
    is_runnable_alone,
    multiply_adds,
    operations_of,
)
from pocketkube.latency_table.single_operation import single_operation_file
from pocketkube.latency_table.table import (
    Device,
    KindTimes,
    LatencyTable,
    NetworkTime,
    read_table,
    sum_of_kinds,
    write_table,
)
from pocketkube.litert.flatbuffer import NAMES
from pocketkube.litert.operations import LiteRtGraph, Operation
from pocketkube.litert.running import LiteRTModel

# Of several rounds the fastest counts: other programs make times longer, never shorter.
ROUNDS = 5
# A round's figure is the median of so many runs.
_RUNS, _NETWORK_RUNS, _WARM_UPS = 7, 15, 2
# An operation is computed as often in a run as makes its time long against the call's.
_LEAST_MULTIPLY_ADDS, _MOST_COPIES = 2e6, 16
# Files of single operations that are open at a time take about so many bytes of weights.
_BYTES_AT_ONCE, _FILES_AT_ONCE = 2**26, 64


@dataclass(frozen=True)
class TimedNetwork:
    """A LiteRT file to measure a table for.

    Attributes:
        name: What the table calls it.
        number_format: The numbers it computes in: "float32", "int8", ...
        content: The file's content.
        fitted: Whether the cost of a call is fitted on it; else it is only predicted.
    """

    name: str
    number_format: str
    content: bytes
    fitted: bool = True


def measure_table(
    networks: Sequence[TimedNetwork], file: Path, *, threads: int = 1, rounds: int = ROUNDS
) -> LatencyTable:
    """Measures the kinds of operation that networks consist of, and the networks themselves.

    Convolutions and dense layers are measured at a grid of channels, up to those of the networks; other
    operations as the networks have them. Everything is measured once in each of several rounds, so
    that what disturbs one of them is over in the next, and the fastest round counts.

    Args:
        networks: The uncompressed network first, then the same with fewer channels.
        file: Where the table is written, as it grows: an interrupted one is resumed.
        threads: With how many threads.
        rounds: How many rounds.

    Returns:
        The table.

    Raises:
        UserError: If a network has operations that cannot be measured by themselves.
    """
    plans = list(_plans(networks))
    table = _begun(file, threads)
    # Of what was measured before an interruption, they hold as they did.
    known_warnings = table.warnings
    watch, uncompressed_ms = Watch(), list[float]()
    clock = ClockWatch([core.number for core in processor().cores])
    clock.begin()
    total = rounds * (len(plans) + len(networks))
    with progress("latency table", total, "part") as shown:
        done = 0
        for number in range(1, rounds + 1):
            for plan in plans:
                known = table.by_kind.get(plan.kind)
                if known is None or known.levels != plan.levels or known.rounds < number:
                    table = _with_kind(table, _measured(plan, known, threads))
                    write_table(table, file)
                clock.look()
                done += 1
                shown.update(done)
            uncompressed_ms.append(_network_ms(networks[0].content, threads))
            for network in networks:
                table = _with_network(table, network, threads, number)
                clock.look()
                done += 1
                shown.update(done)
            warnings = (
                *known_warnings,
                *doubts(environment()),
                *load_of(watch.stop(), [[[1.0]]], clock.clock()).warnings,
                *drift_warnings(uncompressed_ms),
            )
            table = table.model_copy(update={"warnings": tuple(dict.fromkeys(warnings))})
            write_table(table, file)
    table = _fitted(table, networks)
    write_table(table, file)
    return table


def begin_anew(file: Path) -> None:
    """Removes a table that is complete, so that all is measured again; an interrupted one stays.

    Args:
        file: Where the table is to be written.

    Raises:
        UserError: If it is a file of another kind.
    """
    if file.exists() and read_table(file).calls:
        file.unlink()


def drift_warnings(uncompressed_ms: Sequence[float]) -> tuple[str, ...]:
    """Whether the machine slowed down from the first round to the last.

    Args:
        uncompressed_ms: The uncompressed network's latency in each round.
    """
    drift = uncompressed_ms[-1] / uncompressed_ms[0]
    if drift <= SLOWED_DOWN:
        return ()
    return (
        f"The machine slowed down: in the last round the uncompressed network took {drift:.2f}x as "
        "long as in the first; it was throttled, as hot processors are, or another program began. "
        "Times are those of the fastest round.",
    )


@dataclass(frozen=True)
class _Point:
    size: tuple[int, ...]
    graph: LiteRtGraph
    operation: Operation
    multiply_adds: float


@dataclass(frozen=True)
class _Plan:
    """Where a kind of operation is to be measured."""

    kind: str
    axes: tuple[str, ...]
    levels: tuple[tuple[int, ...], ...]
    points: tuple[_Point, ...]


def _plans(networks: Sequence[TimedNetwork]) -> Iterator[_Plan]:
    found: dict[str, list[tuple[int, SizedOperation, LiteRtGraph, Operation]]] = {}
    for number, network in enumerate(networks):
        graph = LiteRtGraph(network.content)
        for sized, operation in operations_of(graph):
            if not is_runnable_alone(operation):
                raise UserError(
                    f"{network.name}: its operation {NAMES[operation.code]} runs other parts of the "
                    "file and cannot be measured by itself: there is no latency table for it."
                )
            found.setdefault(sized.kind, []).append((number, sized, graph, operation))
    for kind, seen in found.items():
        _, sized, graph, operation = seen[0]
        if sized.axes == NUMBERS_MOVED:
            of_size = {each.size: (each, g, o) for _, each, g, o in reversed(seen)}
            points = [
                _Point(size, g, o, multiply_adds(each, g, o))
                for size, (each, g, o) in sorted(of_size.items())
            ]
            yield _Plan(kind, sized.axes, (tuple(p.size[0] for p in points),), tuple(points))
            continue
        by_network: dict[int, list[SizedOperation]] = {}
        for number, each, _, _ in seen:
            by_network.setdefault(number, []).append(each)
        grid = tuple(
            levels(
                [{e.size[axis] for e in of_one} for of_one in by_network.values()],
                name == "in_channels",
            )
            for axis, name in enumerate(sized.axes)
        )
        whole = multiply_adds(sized, graph, operation) / np.prod(sized.size)
        sizes = list(product(*grid))
        yield _Plan(
            kind,
            sized.axes,
            grid,
            tuple(_Point(size, graph, operation, float(whole * np.prod(size))) for size in sizes),
        )


def _begun(file: Path, threads: int) -> LatencyTable:
    """What an interrupted call left of the same device and threads, or an empty table."""
    here = environment()
    device = Device(
        cpu=here.cpu,
        cpu_features=here.cpu_features,
        machine=here.machine,
        litert_version=version("ai-edge-litert"),
        emulated_on=here.emulated_on,
    )
    if file.exists():
        table = read_table(file)
        if (table.device, table.threads) == (device, threads):
            return table
    return LatencyTable(device=device, threads=threads)


def _with_kind(table: LatencyTable, kind: KindTimes) -> LatencyTable:
    kinds = {**table.by_kind, kind.kind: kind}
    return table.model_copy(update={"kinds": tuple(kinds.values())})


def _measured(plan: _Plan, known: KindTimes | None, threads: int) -> KindTimes:
    """The times of one more round, or what was known where that was faster."""
    times = np.array([each for batch in _batches(plan, threads) for each in batch])
    rounds = 1
    if known is not None and known.levels == plan.levels:
        times, rounds = np.minimum(times, known.times_us), known.rounds + 1
    return KindTimes(
        kind=plan.kind,
        axes=plan.axes,
        levels=plan.levels,
        times_us=tuple(round(float(each), 3) for each in times),
        rounds=rounds,
    )


def _batches(plan: _Plan, threads: int) -> Iterator[list[float]]:
    """Microseconds of the plan's points, so many at a time as fit into memory."""
    opened: list[tuple[LiteRTModel, int]] = []
    size = 0
    for point in plan.points:
        copies = int(np.clip(ceil(_LEAST_MULTIPLY_ADDS / point.multiply_adds), 1, _MOST_COPIES))
        content = single_operation_file(point.graph, point.operation, plan.axes, point.size, copies)
        opened.append((_ready(content, threads), copies))
        size += len(content)
        if size > _BYTES_AT_ONCE or len(opened) >= _FILES_AT_ONCE:
            yield _in_turn(opened)
            opened, size = [], 0
    if opened:
        yield _in_turn(opened)


def _ready(content: bytes, threads: int) -> LiteRTModel:
    model = LiteRTModel(content, threads)
    # What flows between operations need not begin with the axis of examples: steps of time may come
    # first, or all positions as rows.
    model.invoke(model.quantized(random_arrays(model.input_shapes, model.example_types)))
    return model


def _in_turn(opened: Sequence[tuple[LiteRTModel, int]]) -> list[float]:
    """The median time of each of some files, of runs in turn, over its number of copies."""
    times = np.empty((_RUNS, len(opened)))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for run in range(_RUNS):
            for place, (model, copies) in enumerate(opened):
                # What ran before took its weights' place in the caches, as in a network.
                began = time.perf_counter_ns()
                model.compute()
                times[run, place] = (time.perf_counter_ns() - began) / 1e3 / copies
    finally:
        if collecting:
            gc.enable()
    return [float(each) for each in np.median(times, axis=0)]


def _with_network(
    table: LatencyTable, network: TimedNetwork, threads: int, number: int
) -> LatencyTable:
    """Measures a network once more, unless it was in this round."""
    sha256 = hashlib.sha256(network.content).hexdigest()
    others = tuple(each for each in table.networks if each.sha256 != sha256)
    known = next((each for each in table.networks if each.sha256 == sha256), None)
    if known is not None and known.rounds >= number:
        return table
    measured = _network_ms(network.content, threads)
    rounds = 1
    if known is not None:
        measured, rounds = min(measured, known.measured_ms), known.rounds + 1
    told = NetworkTime(
        network=network.name,
        number_format=network.number_format,
        sha256=sha256,
        measured_ms=measured,
        predicted_ms=None,
        fitted=network.fitted,
        rounds=rounds,
    )
    return table.model_copy(update={"networks": (*others, told)})


def _network_ms(content: bytes, threads: int) -> float:
    model = LiteRTModel(content, threads)
    rounds = Rounds([model], random_samples(model.input_shapes, model.example_types).inputs)
    rounds.warm_up(_WARM_UPS)
    rounds.run(_NETWORK_RUNS)
    return float(np.median(rounds.times_ms[0]))


def _fitted(table: LatencyTable, networks: Sequence[TimedNetwork]) -> LatencyTable:
    """The table with the cost of a call for each number format, and what it predicts."""
    told = {each.sha256: each for each in table.networks}
    calls = dict(table.calls)
    sums = [sum_of_file(table, network.content) for network in networks]
    marks = [hashlib.sha256(network.content).hexdigest() for network in networks]
    for number_format in dict.fromkeys(network.number_format for network in networks):
        chosen = [
            (total, 1e3 * told[mark].measured_ms)
            for network, total, mark in zip(networks, sums, marks, strict=True)
            if network.number_format == number_format and network.fitted
        ]
        calls[number_format] = fit_call(*zip(*chosen, strict=True))
    for network, total, mark in zip(networks, sums, marks, strict=True):
        call = calls[network.number_format]
        predicted = float(call.latency_us(total)) / 1e3
        told[mark] = told[mark].model_copy(
            update={"predicted_ms": predicted, "fitted": network.fitted, "network": network.name}
        )
    kept = tuple(told[mark] for mark in dict.fromkeys(marks))
    return table.model_copy(update={"calls": calls, "networks": kept})


def sum_of_file(table: LatencyTable, content: bytes) -> float:
    """The times of all operations in a LiteRT file, added up, in microseconds.

    Raises:
        UserError: If the table lacks a kind of operation.
    """
    found = [sized for sized, _ in operations_of(LiteRtGraph(content))]
    return float(
        sum_of_kinds(
            table, [each.kind for each in found], [np.array(each.size, float) for each in found]
        )
    )
