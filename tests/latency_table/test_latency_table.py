"""The arithmetic of latency tables, exact on tables that are made up."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.graph.cost_model import (
    CallShapes,
    ChannelGroup,
    CostModel,
    Extent,
    Layer,
    Product,
    Weight,
)
from pocketkube.latency_table.budget import Latency
from pocketkube.latency_table.fitting import fit_call
from pocketkube.latency_table.following import follow, telling_assignments
from pocketkube.latency_table.levels import levels
from pocketkube.latency_table.operations import NUMBERS_MOVED, SizedOperation
from pocketkube.latency_table.table import (
    CallCost,
    Device,
    KindTimes,
    LatencyTable,
    read_table,
    sum_of_kinds,
    write_table,
)

DEVICE = Device(cpu="made up", cpu_features=(), machine="x86_64", litert_version="2")
CHANNELS = ("in_channels", "out_channels")


def made_up(**changes: object) -> LatencyTable:
    """A convolution of 1 us and 0.5 us for each product, an addition of 0.25 us for each number."""
    grid_in, grid_out = (2, 4, 8), (2, 8)
    conv = KindTimes(
        kind="conv",
        axes=CHANNELS,
        levels=(grid_in, grid_out),
        times_us=tuple(1 + 0.5 * a * b for a in grid_in for b in grid_out),
        rounds=1,
    )
    add = KindTimes(
        kind="add", axes=NUMBERS_MOVED, levels=((100, 300),), times_us=(25.0, 75.0), rounds=1
    )
    facts = {"device": DEVICE, "threads": 1, "kinds": (conv, add)}
    facts["calls"] = {"float32": CallCost(overhead_us=10.0, scale=2.0)}
    return LatencyTable(**{**facts, **changes})


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (4, 5), (8, 8), (1, 1), (16, 8), (6, 16)])
def test_what_is_bilinear_is_met_exactly_within_and_beyond_the_levels(size: tuple[int, int]) -> None:
    conv = made_up().by_kind["conv"]
    found = conv.microseconds(np.array([size], float))
    assert found == pytest.approx([1 + 0.5 * size[0] * size[1]])


def test_one_level_is_in_proportion() -> None:
    one = KindTimes(kind="x", axes=NUMBERS_MOVED, levels=((10,),), times_us=(5.0,), rounds=1)
    assert one.microseconds(np.array([[4.0], [10.0], [20.0]])) == pytest.approx([2, 5, 10])


def test_no_size_takes_less_than_nothing() -> None:
    falling = KindTimes(kind="x", axes=NUMBERS_MOVED, levels=((10, 20),), times_us=(5.0, 1.0), rounds=1)
    assert falling.microseconds(np.array([[100.0]])) == 0
    assert falling.microseconds(np.array([[1.0]])) == pytest.approx(5.0)


def test_a_network_without_measured_kinds_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"has no times of pool \(and 1 other kinds\)"):
        sum_of_kinds(made_up(), ["conv", "pool", "mean"], [np.ones((1, 2)), np.ones((1, 1))] * 2)


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    table = made_up()
    write_table(table, tmp_path / "table.json")
    assert read_table(tmp_path / "table.json") == table
    assert json.loads((tmp_path / "table.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no latency table of version 1"),
        ('{"schema_version": 2}', "schema_version"),
        ('{"schema_version": 1, "threads": 1}', "device"),
    ],
)
def test_what_is_no_table_is_refused_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(UserError, match=said) as refused:
        read_table(tmp_path / "table.json")
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"There is no .*other\.json"):
        read_table(tmp_path / "other.json")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1.0", "1e999"])
def test_a_time_that_is_no_number_is_refused(tmp_path: Path, value: str) -> None:
    write_table(made_up(), tmp_path / "table.json")
    text = (tmp_path / "table.json").read_text().replace("25.0", value, 1)
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(UserError, match=r"is no latency table of version 1: kinds\.1\.times_us\.0"):
        read_table(tmp_path / "table.json")


def test_a_table_needs_neither_keras_nor_litert_to_be_read(tmp_path: Path) -> None:
    write_table(made_up(), tmp_path / "table.json")
    code = (
        "import sys; from pathlib import Path\n"
        "from pocketkube.latency_table.budget import Latency\n"
        "from pocketkube.latency_table.table import read_table\n"
        f"read_table(Path({str(tmp_path / 'table.json')!r}))\n"
        "print([n for n in ('keras', 'tensorflow', 'ai_edge_litert') if n in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_overhead_and_scale_are_found_again() -> None:
    sums = [100.0, 400.0, 900.0]
    call = fit_call(sums, [30 + 0.9 * each for each in sums])
    assert (call.overhead_us, call.scale) == (pytest.approx(30), pytest.approx(0.9))
    # What would be below zero is none, and one network tells a scale alone.
    assert fit_call(sums, [0.9 * each - 20 for each in sums]).overhead_us == 0
    assert fit_call([100.0], [120.0]).scale == pytest.approx(1.2)


def test_levels_are_those_of_all_networks_or_a_grid() -> None:
    assert levels([{3, 10}, {3, 10}], is_read=True) == (3, 10)
    assert levels([{3, 16}, {3, 9}], is_read=True) == (3, 4, 8, 16)
    assert levels([{48}, {33}], is_read=False) == (4, 8, 12, 16, 20, 24, 28, 32, 40, 48)
    found = levels([{1280}, {900}], is_read=False)
    assert found[-1] == 1280
    assert list(found) == sorted(set(found))
    assert len(found) < 45


def network() -> CostModel:
    """Two convolutions on 4 x 4 positions, of which the second is added to what the first reads."""
    three, wide, deep = Extent(3), Extent(0, {"a": (1,)}), Extent(0, {"b": (1,)})
    four = Extent(4)

    def conv(name: str, read: Extent, made: Extent) -> Layer:
        call = CallShapes(((four, four, read),), ((four, four, made),), (Product(16, (read, made)),))
        return Layer(name, "Conv2D", ("",), (call,), (Weight("kernel", (read, made)),))

    groups = (ChannelGroup("a", 8, 2, 2, ("a",)), ChannelGroup("b", 16, 2, 2, ("b",)))
    return CostModel("net", groups, (conv("a", three, wide), conv("b", wide, deep)))


def operations(a: int, b: int) -> list[SizedOperation]:
    return [
        SizedOperation("conv", CHANNELS, ((3,), (a,))),
        SizedOperation("conv", CHANNELS, ((a,), (b,))),
        SizedOperation("add", NUMBERS_MOVED, ((16 * b, 16 * b, 16 * b),)),
    ]


def test_a_budget_adds_up_what_operations_take_at_any_counts() -> None:
    costs = network()
    assignments = telling_assignments(costs, seed=0)
    assert assignments[0] == {"a": 8, "b": 16}
    followed = follow(costs, [(each, operations(**each)) for each in assignments])
    budget = Latency(costs, made_up(), followed, "float32")
    for a, b in ((8, 16), (4, 6), (2, 2)):
        convolutions = 2 + 0.5 * (3 * a + a * b)
        wanted_us = 10 + 2 * (convolutions + 0.25 * 48 * b)
        assert budget.latency_ms({"a": a, "b": b}) == pytest.approx(wanted_us / 1000)
    # Halves are unpacked when a file is loaded.
    assert made_up().call("float16") == made_up().call("float32")
    own = {each: CallCost(overhead_us=us, scale=1.0) for each, us in (("float32", 1), ("float16", 2))}
    assert made_up(calls=own).call("float16").overhead_us == 2
    with pytest.raises(UserError, match=r"has no times in int8, only in float32: .* formats: \[int8\]"):
        Latency(costs, made_up(), followed, "int8").latency_ms({})
    with pytest.raises(UserError, match="not complete"):
        Latency(costs, made_up(calls={}), followed, "float32").latency_ms({})


def test_files_that_cannot_be_followed_are_refused() -> None:
    costs = network()
    assignments = telling_assignments(costs, seed=0)
    seen = [(each, operations(**each)) for each in assignments]
    with pytest.raises(UserError, match="consists of other operations"):
        follow(costs, [*seen[:-1], (seen[-1][0], seen[-1][1][:-1])])
    odd = [SizedOperation("odd", NUMBERS_MOVED, ((each["a"] ** 2,),)) for each in assignments]
    with pytest.raises(UserError, match="operation odd has cannot be told"):
        follow(costs, [(each, [one]) for each, one in zip(assignments, odd, strict=True)])
