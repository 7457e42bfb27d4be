import base64
import dataclasses
import json
import zlib

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.graph.cost_model import CostModel, Extent
from pocketkube.graph.file_bytes import FileBytes, FileForm
from pocketkube.latency_table.budget import Latency, Length, NetworkOperation
from pocketkube.latency_table.table import CallCost, Device, KindTimes, LatencyTable
from pocketkube.search.problem import Limit, Problem
from pocketkube.search.space import Parameter, Space
from tests.search.synthetic import chain, residual, synthetic

EVERYTHING = dataclasses.replace(
    synthetic(4, decides=("kept", "sparsity", "bits"), cost="bytes").problem, file=FileForm("int8")
)
NAMES = [f"conv{number}" for number in range(4)]


def drawn(problem: Problem, count: int = 20) -> np.ndarray:
    sizes = problem.space.sizes
    return np.random.default_rng(0).integers(0, sizes, (count, len(sizes)))


def by_hand(problem: Problem, choice: np.ndarray) -> dict[str, float]:
    """The costs of a chain of 3x3 convolutions on images of 8x8, written down without a cost model."""
    values = problem.space.values(choice)
    macs = nonzero = bits_of_kernels = numbers = size = 0.0
    inputs = 3
    for name, width in zip(NAMES, (32, 32, 64, 64), strict=True):
        outputs = max(round(values[f"{name}.kept"] * width / 4) * 4, 8)
        kernel = 9 * inputs * outputs
        macs += 64 * kernel
        nonzero += kernel - round(values[f"{name}.sparsity"] * kernel) + outputs
        bits = values[f"{name}.bits"]
        bits_of_kernels += bits * kernel
        numbers += kernel
        # Half a byte or one; all begins at multiples of 16.
        size += ((1 + (bits > 4)) * kernel / 2 + 15) // 16 * 16 + (4 * outputs + 15) // 16 * 16
        # A scale and a zero point of 12 bytes of each for every channel; the operation.
        size += 24 * outputs + 300
        inputs = outputs
    head = 10 * inputs
    return {
        "macs": macs + head,
        "parameters": nonzero + head + 10,
        "mean_bits": bits_of_kernels / numbers,
        "bytes": size + head + 48 + 240 + 300 + 2500,
    }


def test_costs_are_those_counted_by_hand() -> None:
    for choice in drawn(EVERYTHING):
        assert EVERYTHING.all_costs(choice) == pytest.approx(by_hand(EVERYTHING, choice))


def test_many_choices_cost_what_each_costs() -> None:
    choices = drawn(EVERYTHING, 1500)
    assert EVERYTHING.costs(choices, "parameters")[::400] == pytest.approx(
        [EVERYTHING.cost(choice, "parameters") for choice in choices[::400]]
    )


def test_tied_groups_each_keep_their_own_part() -> None:
    problem = synthetic(4, tied=3).problem
    half = problem.space.choice({"conv0.kept": 0.375, "conv3.kept": 1.0})
    # 0.375 of 32 and of 64 channels, in steps of 4.
    assert problem.counts(half[None])[0].tolist() == [12, 12, 24, 64]
    coarse = problem.network.with_groups(
        [dataclasses.replace(group, step=16, least=16) for group in problem.network.groups]
    )
    rounded = Problem(problem.space, coarse, problem.limit)
    assert rounded.counts(half[None])[0].tolist() == [16, 16, 32, 64]


def test_a_group_that_is_no_multiple_of_its_step_can_stay_whole() -> None:
    odd = chain(2, size=30, step=8, widen=False)
    space = Space((Parameter("conv0.kept", "kept", ("conv0",), (0.5, 1.0)),))
    counts = Problem(space, odd, Limit("macs", 1.0)).counts(np.array([[0], [1]]))
    assert counts.tolist() == [[16, 30], [30, 30]]


def test_bytes_follow_from_the_bits_that_no_parameter_decides() -> None:
    problem = synthetic(4, cost="bytes").problem
    whole = problem.space.sizes - 1
    for form in (FileForm("int8", default_bits=4), FileForm("float16"), FileForm()):
        other = dataclasses.replace(problem, file=form)
        assert other.cost(whole) == FileBytes(problem.network, form).cost({})


def test_a_problem_of_an_earlier_version_has_the_file_that_its_bits_told() -> None:
    problem = synthetic(4, cost="bytes").problem
    facts = json.loads(problem.to_json())
    del facts["file"]
    for bits, numbers in ((32, "float32"), (16, "float16"), (8, "int8")):
        found = Problem.from_json(json.dumps(facts | {"default_bits": bits}))
        assert found.file.numbers == numbers


def with_latency(network: CostModel) -> Problem:
    """A search limited by a table in which a convolution takes 1 us for 100 pairs of channels."""
    kinds = (
        KindTimes(
            kind="conv",
            axes=("in_channels", "out_channels"),
            levels=((1, 100), (1, 100)),
            times_us=(0.01, 1.0, 1.0, 100.0),
            rounds=1,
        ),
        KindTimes(kind="other", axes=("channels",), levels=((1, 2),), times_us=(1.0, 2.0), rounds=1),
    )
    table = LatencyTable(
        device=Device(cpu="test", cpu_features=(), machine="test", litert_version="0"),
        threads=1,
        kinds=kinds,
        calls={"int8": CallCost(overhead_us=5.0, scale=2.0), "float": CallCost(overhead_us=0, scale=1)},
    )
    groups = [Extent(0, {group.name: (1,)}) for group in network.groups]
    operations = tuple(
        NetworkOperation("conv", ((Length(1, before),), (Length(1, after),)))
        for before, after in zip((None, *groups[:-1]), groups, strict=True)
    )
    space = synthetic(len(groups), network=network).problem.space
    return Problem(
        space, network, Limit("latency", 1e5), latency=Latency(network, table, operations, "int8")
    )


def test_latency_comes_from_the_table() -> None:
    problem = with_latency(chain(3, widen=False))
    counts = [8, 16, 32]
    choice = problem.space.choice({f"conv{n}.kept": kept / 32 for n, kept in enumerate(counts)})
    # Pairs of channels are 1*8 + 8*16 + 16*32, of which 100 take 1 us; twice that, and 5 us for a call.
    assert problem.cost(choice) == pytest.approx(1e3 * (5 + 2 * (8 + 128 + 512) / 100))
    again = Problem.from_setting(problem.to_setting())
    assert again.cost(choice) == problem.cost(choice)
    assert "latency" in again.cost_names
    assert "other" not in problem.to_json()


@pytest.mark.parametrize(
    "problem", [EVERYTHING, synthetic(network=residual(9)).problem, with_latency(chain(5))]
)
def test_a_problem_comes_back_from_json_and_from_a_setting(problem: Problem) -> None:
    setting = problem.to_setting()
    assert not set(setting) & set(" '\"[]{}$;\n")
    assert len(setting) < 16_000
    for again in (Problem.from_json(problem.to_json()), Problem.from_setting(setting)):
        assert again.to_json() == problem.to_json()
        assert (again.space, again.network, again.limit) == (
            problem.space,
            problem.network,
            problem.limit,
        )
        assert again.losses == problem.losses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no base64 !",
        "bm9uZQ==",
        EVERYTHING.to_setting()[:-8],
        EVERYTHING.to_setting() + "AAAA",
        "é",
    ],
)
def test_a_damaged_setting_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no search problem"):
        Problem.from_setting(text)


def test_a_setting_that_grows_without_end_is_refused() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b" " * (65 << 20), 9)).decode()
    with pytest.raises(UserError, match="no search problem"):
        Problem.from_setting(bomb)


def changed(problem: Problem, **changes: object) -> Problem:
    return dataclasses.replace(problem, **changes)  # type: ignore[arg-type]


def of(*parameters: Parameter) -> Space:
    return Space(parameters)


KEPT = Parameter("conv0.kept", "kept", ("conv0",), (0.5, 1.0))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (changed(EVERYTHING, limit=Limit("latency", 1.0)), "cannot be limited in latency"),
        (changed(EVERYTHING, limit=Limit("macs", float("nan"))), "limit has to be a number"),
        (changed(EVERYTHING, losses=((1.0, 0.0),)), "one for each level"),
        (changed(EVERYTHING, space=of(), losses=()), "no parameters"),
        (changed(EVERYTHING, space=of(KEPT, KEPT), losses=()), "Two parameters"),
        (
            changed(EVERYTHING, space=of(dataclasses.replace(KEPT, targets=("conv9",))), losses=()),
            "conv9, which is no group of channels",
        ),
        (
            changed(EVERYTHING, space=of(KEPT, dataclasses.replace(KEPT, name="other")), losses=()),
            "Two parameters of the search decide on the channels of conv0",
        ),
        (
            changed(EVERYTHING, space=of(dataclasses.replace(KEPT, levels=(1.0, 0.5))), losses=()),
            "from the cheapest to the dearest",
        ),
        (
            changed(EVERYTHING, space=of(Parameter("b", "bits", ("conv9",), (2, 8))), losses=()),
            "no layer with a matrix",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_when_it_is_read(wrong: Problem, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Problem.from_json(wrong.to_json())


def test_another_version_is_refused() -> None:
    later = EVERYTHING.to_json().replace('"schema_version":1', '"schema_version":7', 1)
    with pytest.raises(UserError, match="schema_version 7"):
        Problem.from_json(later)


def test_a_cost_that_is_not_known_is_refused() -> None:
    problem = synthetic(3).problem
    with pytest.raises(UserError, match="no parameter decides bits"):
        problem.cost(np.zeros(3, int), "mean_bits")
    with pytest.raises(UserError, match="no latency table"):
        problem.cost(np.zeros(3, int), "latency")
