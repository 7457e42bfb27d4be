"""What a search's Experiment is told; what a real Katib makes of it is in tests/cluster."""

from pathlib import Path
from typing import Any

import numpy as np
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
UNTRAINED = {"evaluate": {"fine_tune_steps": 0}}


def call_of(folder: Path, search: dict[str, Any]) -> StageCall:
    spec = parse_spec(
        {
            "model": "lenet",
            "dataset": "digits",
            "target": {"speedup": 2},
            "search": {"over": ["prune_channels"]} | search,
            "stages": ["prune_channels", "fine_tune", "quantize_int8"],
        }
    )
    (step,) = (each for each in plan(spec) if each.stage == "search_ratios")
    return StageCall(step.stage, step.config, {"model": str(folder)}, str(folder / "found"))


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
    # A spec's seed goes up to 2**53, Katib's to 2**32 - 1.
    large = algorithm_of(sampler, PROBLEM, 2**53).settings["random_state"]
    np.random.RandomState(int(large))


@pytest.mark.parametrize(
    ("search", "trials", "said"),
    [
        (UNTRAINED, {"workers": 2}, "trials.workers: 2 processes would share"),
        (UNTRAINED, {"early_stopping": True}, "search.evaluate.fine_tune_steps is 0; let it be 5"),
        ({"sampler": "uniform"}, {}, "search: uniform is no algorithm of Katib; name one of ddpg"),
        ({"sampler": "nsga2", "front": {"speedup": [2, 4]}}, {}, "a Katib Experiment has one; let"),
    ],
)
def test_what_katib_has_no_use_for_is_refused_before_anything_is_begun(
    tmp_path: Path, search: dict[str, Any], trials: dict[str, Any], said: str
) -> None:
    cluster = Cluster.model_validate({"trials": {"launcher": "katib"} | trials})
    with pytest.raises(UserError, match=said):
        run_on_cluster(call_of(tmp_path, search), cluster)
    assert not (tmp_path / "found").exists()


def test_without_an_image_nothing_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketkube.stages.on_katib.connect", lambda: None)
    monkeypatch.setattr("pocketkube.stages.on_katib.own_pod", lambda _: None)
    monkeypatch.setattr("pocketkube.stages.on_katib._prepared", lambda *_: pytest.fail("it is"))
    cluster = Cluster.model_validate({"trials": {"launcher": "katib"}})
    with pytest.raises(UserError, match=r"cluster\.image: name the image of trials"):
        run_on_cluster(call_of(tmp_path, {}), cluster)
