"""A search tries what the job would keep without one, so that it ends with no less by its own score."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pocketkube.data.batches import calibration_examples
from pocketkube.errors import UserError
from pocketkube.graph.cost_model import CostModel
from pocketkube.pruning.calibration import Calibration
from pocketkube.pruning.prune import prune
from pocketkube.search.experiment import run_experiment
from pocketkube.search.facts import best_of
from pocketkube.search.pool import Here
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.problem import Limit, Problem
from pocketkube.search.ranked import with_ranked
from pocketkube.search.sampler import Sampler
from pocketkube.search.samplers import sampler_named
from pocketkube.search.space import Parameter, Space
from tests.search.nets import dataset, pruning, trained
from tests.search.synthetic import synthetic


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_a_search_for_channels_knows_what_the_stage_itself_keeps(tmp_path: Path, scope: str) -> None:
    model, task = trained()
    searched = pruning(speedup=2.0, scope=scope)
    problem = prepare_search(model, dataset(), task, searched, tmp_path / "bundle", with_losses=False)
    (counts,) = problem.counts(np.array([problem.ranked]))
    assert searched.prune is not None
    calibration = Calibration(*calibration_examples(dataset(), 512, 0), loss=task.loss)
    kept = prune(model, searched.prune, speedup=2.0, calibration=calibration).kept
    assert problem.network.assignment(counts) == {name: count for name, (count, _) in kept.items()}
    assert open_prepared(tmp_path / "bundle").problem == problem


def test_a_search_ends_with_no_less_than_the_stage_itself_reaches(tmp_path: Path) -> None:
    model, task = trained()
    prepare_search(model, dataset(), task, pruning(), tmp_path / "bundle", with_losses=False)
    evaluator = open_prepared(tmp_path / "bundle")
    problem = evaluator.problem
    pool, sampler = Here(evaluator.evaluate), sampler_named("tpe")
    trials = run_experiment(problem, sampler, pool, trials=2, seed=0, folder=tmp_path / "trials")
    assert [trial.sampler for trial in trials] == ["ranking", "tpe"]
    assert trials[0].choice == problem.ranked
    assert best_of(problem, trials).score >= evaluator.judged(problem.ranked).score


@pytest.mark.parametrize("sampler", [sampler_named(name) for name in ("milp", "tpe", "ddpg")])
def test_it_is_tried_after_what_is_foreseen_to_be_best(sampler: Sampler) -> None:
    problem = synthetic(5).problem
    problem = dataclasses.replace(problem, ranked=(1,) * 5)
    asked = sampler.ask(problem, [], 3, seed=0)
    assert asked.samplers == ("milp", "ranking", sampler.name)
    assert asked.choices[1] == problem.ranked
    blind = dataclasses.replace(problem, losses=())
    asked = sampler.ask(blind, [], 2, seed=0)
    assert asked.samplers == ("ranking", sampler.name)
    assert asked.choices[0] == problem.ranked


@pytest.mark.parametrize("name", ["uniform", "random"])
def test_what_is_set_by_hand_or_by_chance_begins_with_its_own(name: str) -> None:
    problem = dataclasses.replace(synthetic(5).problem, ranked=(1,) * 5)
    assert sampler_named(name).ask(problem, [], 3, seed=0).samplers == (name,) * 3


def wide(levels: tuple[float, ...], *targets: str) -> tuple[Problem, CostModel]:
    network = synthetic(len(targets)).problem.network
    space = Space((Parameter("a.kept", "kept", targets, levels),))
    most = float(network.macs(network.sizes[None])[0])
    return Problem(space, network, Limit("macs", most)), network


def test_a_level_is_added_for_what_a_group_keeps_between_two() -> None:
    name = synthetic(1).problem.network.groups[0].name
    problem, network = wide((0.25, 1.0), name)
    (size,) = network.sizes.tolist()
    found = with_ranked(problem, {name: size // 2})
    assert found.space.parameters[0].levels == (0.25, 0.5, 1.0)
    assert found.counts(np.array([found.ranked])).tolist() == [[size // 2]]
    # One that there is already is not there twice.
    assert with_ranked(problem, {name: size}).space == problem.space


def test_groups_that_share_a_level_take_the_nearest_within_the_limit() -> None:
    names = [group.name for group in synthetic(2).problem.network.groups]
    problem, network = wide((0.25, 0.5, 1.0), *names)
    half, full = (network.sizes // 2).tolist(), network.sizes.tolist()
    tight = problem.limited(float(network.macs(np.array([half]))[0]))
    found = with_ranked(tight, dict(zip(names, (half[0], full[1]), strict=True)))
    assert found.space == problem.space
    assert found.ranked == (1,)


@pytest.mark.parametrize("ranked", [(0,), (0, 99)])
def test_a_ranked_choice_that_is_none_is_refused(ranked: tuple[int, ...]) -> None:
    problem = dataclasses.replace(synthetic(2).problem, ranked=ranked)
    with pytest.raises(UserError, match="ranked choice"):
        Problem.from_json(problem.to_json())
