"""What each decision costs alone foresees what many cost together."""

from pathlib import Path

import numpy as np
import pytest

from pocketkube.errors import UserError
from pocketkube.search.milp import solve
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.projection import project
from pocketkube.search.sensitivity import interpolated, measure_losses, measured_levels
from pocketkube.search.space import Parameter
from tests.search.nets import dataset, pruning, trained
from tests.search.synthetic import synthetic

KEPT = Parameter("a.kept", "kept", ("a",), (0.25, 0.5, 0.75, 1.0))
ZEROS = Parameter("a.sparsity", "sparsity", ("a",), (0.9, 0.5, 0.0))
BITS = Parameter("a.bits", "bits", ("a",), (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))


@pytest.mark.parametrize("parameter", [KEPT, ZEROS, BITS])
def test_losses_are_nothing_where_all_is_whole_and_never_rise(parameter: Parameter) -> None:
    levels = measured_levels(parameter)
    assert 0 in levels
    assert len(parameter.levels) - 1 not in levels
    noisy = np.random.default_rng(1).normal(1, 1, len(levels))
    found = interpolated(parameter, levels, noisy.tolist())
    assert len(found) == len(parameter.levels)
    assert found[-1] == 0
    assert min(found) >= 0
    assert (np.diff(found) <= 1e-9).all()


def test_what_was_measured_is_kept_as_it_was_and_the_rest_lies_between() -> None:
    found = interpolated(KEPT, [0, 2], [0.8, 0.2])
    assert found == pytest.approx((0.8, 0.5, 0.2, 0.0))
    assert interpolated(ZEROS, [0], [0.9]) == pytest.approx((0.9, 0.5, 0.0))
    levels = measured_levels(BITS)
    exact = [4.0 ** -BITS.levels[level] for level in levels]
    between = interpolated(BITS, levels, exact)
    assert between[1] == pytest.approx(4.0**-3)
    assert between[3] == pytest.approx(4.0**-5)


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    model, task = trained()
    problem = prepare_search(model, dataset(), task, pruning(), tmp_path / "bundle", with_losses=False)
    asked: list[tuple[int, ...]] = []
    stop_after = 7

    def distance(choice: tuple[int, ...]) -> float:
        if len(asked) == stop_after:
            raise InterruptedError
        asked.append(choice)
        return float(np.sum(problem.space.sizes) - np.sum(choice))

    file = tmp_path / "journal"
    with pytest.raises(InterruptedError):
        measure_losses(problem, distance, file, "one")
    # A kill can cut the last line off.
    file.write_text(file.read_text()[:-3])
    first, stop_after = list(asked), 1000
    asked.clear()
    losses = measure_losses(problem, distance, file, "one")
    assert set(first) & set(asked) == {first[-1]}
    assert all(min(each) == each[-1] == 0 for each in losses)
    # Of another search nothing is taken.
    everything = {*first, *asked}
    asked.clear()
    assert measure_losses(problem, distance, file, "another") == losses
    assert {*asked} == everything


def test_foreseen_is_what_each_decision_alone_does_and_the_best_by_it_beats_uniform(
    tmp_path: Path,
) -> None:
    model, task = trained()
    problem = prepare_search(model, dataset(), task, pruning(speedup=3.0), tmp_path / "bundle")
    evaluator = open_prepared(tmp_path / "bundle")
    assert evaluator.problem.losses == problem.losses
    whole = problem.space.sizes - 1
    base = evaluator.judged(whole).distance
    for number in (0, 3):
        alone = np.where(np.arange(len(whole)) == number, 0, whole)
        found = evaluator.judged(alone).distance - base
        assert problem.losses[number][0] == pytest.approx(found, rel=1e-3)
    solved = solve(problem)
    uniform = project(problem, np.full(len(whole), 0.5))
    assert solved.cost <= problem.limit.most
    assert uniform.cost <= problem.limit.most
    best, same = evaluator.judged(solved.choice), evaluator.judged(uniform.choice)
    assert best.distance < same.distance
    assert best.score > same.score


def measured(distances: dict[tuple[int, ...], float], file: Path) -> tuple[tuple[float, ...], ...]:
    """Of two convolutions; a choice that is not told strays by 0.1."""
    return measure_losses(
        synthetic(2).problem, lambda choice: distances.get(choice, 0.1), file, "stamp"
    )


def test_a_distance_that_is_no_number_counts_as_the_largest_that_is_one(tmp_path: Path) -> None:
    levels = measured_levels(synthetic(2).problem.space.parameters[0])
    told = {(6, 6): 0.0, (levels[0], 6): float("nan"), (levels[1], 6): 0.4}
    losses = measured(told, tmp_path / "one")
    assert losses[0][levels[0]] == pytest.approx(0.4)
    # Where a parameter has none, those of the others count.
    told |= {(6, level): float("inf") for level in levels}
    losses = measured(told, tmp_path / "all")
    assert [losses[1][level] for level in levels] == pytest.approx([0.4] * len(levels))
    assert np.isfinite(losses).all()


def test_a_network_whose_outputs_are_never_numbers_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no numbers at any level of conv0.kept \(conv0\), nor of"):
        measured({(6, 6): float("nan")}, tmp_path / "journal")
