"""What a search's Experiment is told; what a real Katib makes of it is in tests/cluster."""

from pathlib import Path
from typing import Any

import pytest

from pocketkube.errors import UserError
from pocketkube.search.problem import Problem
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Cluster
from pocketkube.stages.call import StageCall
from pocketkube.stages.on_cluster import run_on_cluster
from pocketkube.stages.on_katib import algorithm_of
from pocketkube.stages.plan import plan
from tests.search.synthetic import synthetic

PROBLEM = synthetic(3).problem


@pytest.mark.parametrize("sampler", ["ddpg", "tpe", "milp"])
def test_our_algorithms_are_told_the_search_and_the_seed(sampler: str) -> None:
    algorithm = algorithm_of(sampler, PROBLEM, 7)
    assert algorithm.name == f"pocketkube-{sampler}"
    assert algorithm.settings["seed"] == "7"
    told = algorithm.settings["problem"]
    assert not set(told) & set(" \n\"'{}[]")
    assert Problem.from_setting(told).to_json() == PROBLEM.to_json()


@pytest.mark.parametrize(
    ("sampler", "name"), [("random", "random"), ("cmaes", "cmaes"), ("gp", "bayesianoptimization")]
)
def test_other_samplers_are_katibs_own(sampler: str, name: str) -> None:
    algorithm = algorithm_of(sampler, PROBLEM, 7)
    assert (algorithm.name, algorithm.settings) == (name, {"random_state": "7"})


def test_a_sampler_that_katib_cannot_be_is_refused_with_what_can() -> None:
    with pytest.raises(UserError, match=r"search\.sampler: uniform is no algorithm of Katib; use one"):
        algorithm_of("uniform", PROBLEM, 0)


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ({"workers": 2}, "trials.workers: 2 processes would share"),
        ({"early_stopping": True}, "search.evaluate.fine_tune_steps is 0; let it be 5 or more"),
    ],
)
def test_what_only_fine_tuning_has_a_use_for_is_refused_before_anything_is_begun(
    tmp_path: Path, trials: dict[str, Any], said: str
) -> None:
    spec = parse_spec(
        {
            "model": "lenet",
            "dataset": "digits",
            "target": {"speedup": 2},
            "search": {"over": ["prune_channels"]},
            "stages": ["prune_channels", "fine_tune", "quantize_int8"],
        }
    )
    (step,) = (each for each in plan(spec) if each.stage == "search_ratios")
    call = StageCall(step.stage, step.config, {"model": str(tmp_path)}, str(tmp_path / "found"))
    cluster = Cluster.model_validate({"trials": {"launcher": "katib"} | trials})
    with pytest.raises(UserError, match=said):
        run_on_cluster(call, cluster)
    assert not (tmp_path / "found").exists()
