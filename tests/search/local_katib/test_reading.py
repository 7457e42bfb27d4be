"""What an experiment's file is refused for: one line that says what, where and how."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pocketkube.errors import UserError
from pocketkube.search.local_katib.reading import read_experiment
from tests.kube.schemas import katib_validator, refuse_invalid
from tests.search.local_katib.documents import bowl, listed, number, written

Change = Callable[[dict[str, Any]], object]


def refusal(folder: Path, change: Change) -> str:
    document = bowl(folder)
    change(document["spec"])
    with pytest.raises(UserError) as error:
        read_experiment(written(folder, document))
    assert "\n" not in str(error.value)
    return str(error.value)


def setting(name: str, value: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.update(maxTrials=3), "line 47: spec.maxTrials: is not a known key"),
        (lambda s: s.update(maxTrialCount="4"), "spec.maxTrialCount: must be a whole number"),
        (lambda s: s.update(parallelTrialCount=9), "must be at most maxTrialCount, 4; received 9"),
        (lambda s: s.update(maxTrialCount=0), "spec.maxTrialCount: must be at least 1; received 0"),
        (
            lambda s: s["parameters"][0]["feasibleSpace"].update(min=0.5),
            "spec.parameters[0].feasibleSpace.min: must be text; received 0.5; put it in quotes",
        ),
        (
            lambda s: s["parameters"][0]["feasibleSpace"].update(min="9"),
            "spec.parameters[0].feasibleSpace.min: must be at most max, 5; received 9",
        ),
        (
            lambda s: s["parameters"][0]["feasibleSpace"].update(distribution="logUniform"),
            "min: must be above 0 for logUniform; received 0",
        ),
        (
            lambda s: s["parameters"][0]["feasibleSpace"].update(max="nan"),
            "spec.parameters[0].feasibleSpace.max: must be a number in quotes; received 'nan'",
        ),
        (
            lambda s: s["parameters"][0].update(
                parameterType="int", feasibleSpace={"min": "1", "max": 400 * "9"}
            ),
            "spec.parameters[0].feasibleSpace.max: must be a whole number in quotes; received '999",
        ),
        (
            lambda s: s["objective"].update(goal=math.inf),
            "spec.objective.goal: must be a finite number; received inf",
        ),
        (
            lambda s: s["parameters"][1].update(name="x"),
            "spec.parameters[1]: the parameter x is given twice",
        ),
        (
            lambda s: s["parameters"].append(number("z", "1", "2")),
            "none refers to the parameter z: Katib would start no trial",
        ),
        (
            lambda s: s["algorithm"].update(algorithmName="hyperband"),
            "spec.algorithm.algorithmName: hyperband is run on a cluster alone; on one machine",
        ),
        (
            lambda s: s["algorithm"].update(algorithmName="rnadom"),
            "rnadom is no algorithm; on one machine there are random, grid",
        ),
        (
            lambda s: s["algorithm"].update(algorithmSettings=setting("population", "3")),
            "algorithmSettings[0]: random has the settings random_state; received population",
        ),
        (
            lambda s: s["algorithm"].update(algorithmSettings=setting("random_state", "-1")),
            "at most 4294967295; received -1",
        ),
        (lambda s: s["algorithm"].update(algorithmName="grid"), "grid needs a step for x"),
        (lambda s: s["objective"].update(type="most"), "must be minimize or maximize; received most"),
        (
            lambda s: s["objective"].update(additionalMetricNames=["loss"]),
            "must not hold objectiveMetricName, loss",
        ),
        (
            lambda s: s.update(earlyStopping={"algorithmName": "hyperstop"}),
            "spec.earlyStopping.algorithmName: must be medianstop; received hyperstop",
        ),
        (
            lambda s: s.update(
                earlyStopping={"algorithmName": "medianstop", "algorithmSettings": setting("step", "1")}
            ),
            "medianstop has the settings min_trials_required and start_step; received step",
        ),
        (
            lambda s: s.update(metricsCollectorSpec={"collector": {"kind": "Push"}}),
            "received Push, whose trials send them to Katib's database",
        ),
        (
            lambda s: s.update(
                metricsCollectorSpec={
                    "collector": {"kind": "StdOut"},
                    "source": {"filter": {"metricsFormat": ["loss: (.*)"]}},
                }
            ),
            "metricsFormat[0]: needs two groups, the metric's name and its value: loss: (.*)",
        ),
        (
            lambda s: s["trialTemplate"].update(configMap={"configMapName": "trials"}),
            "spec.trialTemplate.configMap: a template in a cluster's ConfigMap is not read",
        ),
        (
            lambda s: s["trialTemplate"].update(primaryContainerName="other"),
            "trialSpec has no container other; it has main",
        ),
        (
            lambda s: s["trialTemplate"]["trialSpec"].update(kind="PyTorchJob"),
            "of a Job (batch/v1) or an MPIJob (kubeflow.org/v2beta1); received PyTorchJob",
        ),
        (
            lambda s: s["trialTemplate"]["trialParameters"][0].update(name="X"),
            "${trialParameters.X} does not stand in trialSpec",
        ),
        (
            lambda s: s["trialTemplate"]["trialSpec"]["spec"]["template"]["spec"]["containers"][0].pop(
                "command"
            ),
            "the container main needs a command",
        ),
        (
            lambda s: s.update(nasConfig={"graphConfig": {"numLayers": 2}}),
            "spec.nasConfig: searches for",
        ),
    ],
)
def test_a_mistake_is_one_line_with_its_place(tmp_path: Path, change: Change, said: str) -> None:
    assert said in refusal(tmp_path, change)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = refusal(tmp_path, lambda s: s.update(maxFailedTrialCount=-1, resumePolicy="Always"))
    assert "(and 1 more problem: line" in text


def test_another_kind_of_object_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"apiVersion": "batch/v1", "kind": "Job"})
    with pytest.raises(UserError, match=r"has to be a .* Experiment; received apiVersion: batch"):
        read_experiment(path)


def test_defaults_are_katibs(tmp_path: Path) -> None:
    document = bowl(tmp_path)
    document["spec"]["objective"] = {
        "type": "maximize",
        "objectiveMetricName": "accuracy",
        "additionalMetricNames": ["loss"],
    }
    del document["spec"]["parallelTrialCount"]
    document["spec"]["metricsCollectorSpec"] = {"collector": {"kind": "File"}}
    read = read_experiment(written(tmp_path, document))
    assert (read.parallel, read.resumes, read.max_failed) == (3, False, None)
    # A metric's strategy follows the type of the objective, be it a loss.
    assert read.objective.strategies == {"accuracy": "max", "loss": "max"}
    assert (read.collector.path, read.collector.is_json) == ("/var/log/katib/metrics.log", False)


def test_what_a_cluster_adds_to_an_experiment_is_passed_over(tmp_path: Path) -> None:
    document = bowl(tmp_path) | {"status": {"trials": 3}}
    document["metadata"] |= {"namespace": "team", "uid": "1"}
    assert read_experiment(written(tmp_path, document)).namespace == "team"


def test_the_experiments_of_these_tests_are_what_katibs_schema_says(tmp_path: Path) -> None:
    document = bowl(tmp_path, algorithm="tpe", settings={"random_state": "1"})
    document["spec"]["parameters"].append(listed("z", "a"))
    refuse_invalid(document, katib_validator("v1beta1.Experiment"))
