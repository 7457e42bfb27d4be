"""Experiments, against Katib's schema and against what a real Katib does with trials."""

import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubernetes import client

from pocketkube.errors import UserError
from pocketkube.kube.katib.experiment import (
    METRICS_FORMAT,
    Algorithm,
    ExperimentWork,
    experiment,
)
from pocketkube.kube.pod_parts import Owner
from pocketkube.search.space import Parameter, Space
from pocketkube.search.trial_command import score_text
from pocketkube.spec.sections import Cluster, Import
from tests.kube.schemas import Document, crd_validator, katib_validator, refuse_invalid
from tests.kube.test_workers import at_random, clusters, pods_of, refuse_unrestricted

SPACE = Space(
    (
        Parameter("block_1/conv1.kept", "kept", ("g0",), (0.25, 0.5, 0.75, 1.0)),
        Parameter("conv2.kept", "kept", ("g1",), (0.4, 0.8, 1.0)),
        Parameter("dense.sparsity", "sparsity", ("dense",), (0.9, 0.6, 0.3, 0.0)),
        Parameter("dense.bits", "bits", ("dense",), (2.0, 3.0, 4.0, 8.0)),
    )
)


def work(**changes: Any) -> ExperimentWork:
    given: dict[str, Any] = {
        "name": "search-ratios-0123456789abcdef",
        "space": SPACE,
        "algorithm": Algorithm("pocketkube-ddpg", {"problem": "eJx", "seed": "7"}),
        "prepared": "s3://mlpipeline/pocketkube/search-1/prepared",
        "costs": ("macs", "bytes"),
        "trials": 12,
        "parallel": 2,
        "image": "pocketkube:0.1.0",
        "environment": {"AWS_ENDPOINT_URL_S3": "http://store:9000"},
        "owner": Owner("argoproj.io/v1alpha1", "Workflow", "compress", "u-1"),
    }
    return ExperimentWork(**(given | changes))


def built(trials: Document | None = None, workers: Document | None = None, **changes: Any) -> Document:
    section = Cluster.model_validate({"trials": trials or {}, "workers": workers or {}})
    return experiment(work(**changes), section)


def pods(document: Document) -> list[Document]:
    job = document["spec"]["trialTemplate"]["trialSpec"]
    return pods_of(job) if job["kind"] == "MPIJob" else [job["spec"]["template"]["spec"]]


def command(document: Document) -> list[str]:
    """What Katib gives to a shell: command and args of the primary container of the first pod."""
    template = document["spec"]["trialTemplate"]
    (container,) = [
        each
        for each in pods(document)[0]["containers"]
        if each["name"] == template["primaryContainerName"]
    ]
    assert container["command"]
    return [*container["command"], *container.get("args", ())]


@given(clusters(), st.integers(1, 200), st.integers(1, 8), st.none() | st.floats(0, 1))
@at_random
def test_any_section_gives_an_experiment_that_katibs_schema_allows(
    cluster: Cluster, trials: int, parallel: int, goal: float | None
) -> None:
    document = experiment(work(trials=trials, parallel=parallel, goal=goal), cluster)
    refuse_invalid(document, katib_validator("v1beta1.Experiment"))
    job = document["spec"]["trialTemplate"]["trialSpec"]
    if job["kind"] == "MPIJob":
        refuse_invalid(job, crd_validator("mpijob.v2beta1.crd.yaml"))
    else:
        _refuse_unknown_fields(job["spec"], client.V1JobSpec)
        # Kubernetes's own schema of a pod is a part of the MPIJob's.
        pod = {"spec": {"mpiReplicaSpecs": {"Worker": {"template": job["spec"]["template"]}}}}
        refuse_invalid(pod, crd_validator("mpijob.v2beta1.crd.yaml"))
    for spec in pods(document):
        refuse_unrestricted(spec)
    assert document["spec"]["maxFailedTrialCount"] <= document["spec"]["maxTrialCount"]
    assert document["spec"]["parallelTrialCount"] <= document["spec"]["maxTrialCount"]


def _refuse_unknown_fields(document: Document, model: Any) -> None:
    assert set(document) <= set(model.attribute_map.values())


def test_a_misspelt_field_is_found() -> None:
    document = built()
    document["spec"]["trialTemplate"]["retan"] = True
    with pytest.raises(AssertionError, match="retan"):
        refuse_invalid(document, katib_validator("v1beta1.Experiment"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_shell_takes_the_command_apart_where_we_put_it_together(processes: int) -> None:
    # As Katib joins it, and fills values in.
    joined = " ".join(command(built(trials={"workers": processes})))
    filled = re.sub(r"\$\{trialParameters\.\w+\}", "0.5", joined)
    assert re.fullmatch(r"[A-Za-z0-9_./:=@%+, -]+", filled)
    assert filled.endswith("block_1/conv1.kept=0.5 conv2.kept=0.5 dense.sparsity=0.5 dense.bits=0.5")
    assert "trial --prepared s3://mlpipeline/pocketkube/search-1/prepared" in filled


def test_each_parameter_is_filled_in_under_its_own_name() -> None:
    document = built()
    template = document["spec"]["trialTemplate"]
    references = {each["name"]: each["reference"] for each in template["trialParameters"]}
    assert list(references.values()) == list(SPACE.names)
    said = dict(word.split("=") for word in command(document) if "${" in word)
    filled = {
        name: references[re.fullmatch(r"\$\{trialParameters\.([^.}]+)\}", value)[1]]  # type: ignore[index]
        for name, value in said.items()
    }
    assert filled == {name: name for name in SPACE.names}


def test_parameters_have_steps_where_levels_are_evenly_spaced() -> None:
    found = {
        each["name"]: (each["parameterType"], each["feasibleSpace"])
        for each in built()["spec"]["parameters"]
    }
    assert found == {
        "block_1/conv1.kept": ("double", {"min": "0.25", "max": "1", "step": "0.25"}),
        "conv2.kept": ("double", {"min": "0.4", "max": "1"}),
        "dense.sparsity": ("double", {"min": "0", "max": "0.9", "step": "0.3"}),
        "dense.bits": ("int", {"min": "2", "max": "8"}),
    }


def test_a_trial_of_one_process_is_a_job_that_is_not_tried_again() -> None:
    template = built()["spec"]["trialTemplate"]
    job = template["trialSpec"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    assert "name" not in job["metadata"]
    assert job["spec"]["backoffLimit"] == 0
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    assert template["retain"] is True
    # With labels, Katib would look for them and a Job has only one pod.
    assert "primaryPodLabels" not in template


def test_a_trial_of_several_processes_is_an_mpijob_as_katib_wants_it() -> None:
    asked = {"backoff_limit": 3, "suspend": True, "elastic": {"max_workers": 4}, "slots": 2}
    template = built(trials={"workers": 4}, workers=asked)["spec"]["trialTemplate"]
    job = template["trialSpec"]
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v2beta1", "MPIJob")
    assert "name" not in job["metadata"]
    assert job["spec"]["runPolicy"]["backoffLimit"] == 0
    assert job["spec"]["runPolicy"]["suspend"] is False
    assert template["primaryPodLabels"] == {"training.kubeflow.org/job-role": "launcher"}
    # Katib looks for the primary container in workers' pods, too.
    names = {each["name"] for pod in pods_of(job) for each in pod["containers"]}
    assert names == {template["primaryContainerName"]}
    assert job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] == 2
    assert '"Succeeded"' in template["successCondition"]


@pytest.mark.parametrize("workers", [1, 2])
def test_trials_wait_in_kueues_queue_of_however_many_processes_they_are(workers: int) -> None:
    def labels(**pods: str) -> dict[str, str]:
        template = built(trials={"workers": workers}, workers=pods)["spec"]["trialTemplate"]
        found: dict[str, str] = template["trialSpec"]["metadata"]["labels"]
        return found

    assert labels(queue="team-a") == labels() | {"kueue.x-k8s.io/queue-name": "team-a"}


def test_the_section_says_what_the_pods_are_and_when_it_is_given_up() -> None:
    document = built(
        trials={"max_failed": 2, "early_stopping": True, "resume": "LongRunning"},
        workers={
            "cpu": "2",
            "memory": "4Gi",
            "gpus": 1,
            "node_selector": {"pool": "gpu"},
            "secrets": ["hub"],
            "image_pull_secrets": ["pull"],
            "deadline_minutes": 5,
        },
        goal=0.9,
    )
    spec = document["spec"]
    assert (spec["maxTrialCount"], spec["parallelTrialCount"]) == (12, 2)
    assert spec["maxFailedTrialCount"] == 2
    assert spec["earlyStopping"] == {
        "algorithmName": "medianstop",
        "algorithmSettings": [
            {"name": "min_trials_required", "value": "3"},
            {"name": "start_step", "value": "2"},
        ],
    }
    assert spec["resumePolicy"] == "LongRunning"
    assert spec["objective"]["type"] == "maximize"
    assert spec["objective"]["goal"] == 0.9
    job = spec["trialTemplate"]["trialSpec"]
    assert job["spec"]["activeDeadlineSeconds"] == 300
    (pod,) = pods(document)
    (container,) = pod["containers"]
    asked = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert container["resources"] == {"requests": asked, "limits": asked}
    assert container["envFrom"] == [{"secretRef": {"name": "hub"}}]
    assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64", "pool": "gpu"}
    assert document["metadata"]["ownerReferences"][0]["kind"] == "Workflow"


def test_its_labels_do_not_put_the_suggestion_service_under_our_network_policies() -> None:
    # Katib copies an Experiment's labels to its service's pods.
    assert "app.kubernetes.io/part-of" not in built()["metadata"]["labels"]
    pod = built()["spec"]["trialTemplate"]["trialSpec"]["spec"]["template"]
    assert pod["metadata"]["labels"]["app.kubernetes.io/part-of"] == "pocketkube"


def test_katib_reads_what_a_trial_writes() -> None:
    document = built()
    objective = document["spec"]["objective"]
    wanted = {objective["objectiveMetricName"], *objective["additionalMetricNames"]}
    lines = ["macs=1.25e+07", "bytes=20480"]
    lines += [f"applied.{name}=0.5" for name in SPACE.names]
    scored = score_text(1 / 3)
    # Go's regular expressions and Python's agree on what this one uses.
    found = [re.findall(METRICS_FORMAT, line) for line in (*lines, scored)]
    read = {name: value for each in found for name, value, *_ in each}
    assert read == dict(line.split("=") for line in lines) | {"score": "0.3333333333333333"}
    assert wanted == set(read)
    # What stands before the first space, Katib reads as RFC 3339 has it.
    stamp, _ = scored.split(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stamp)


def test_trials_of_our_algorithms_take_what_they_are_told_and_others_spend_the_budget() -> None:
    assert "--as-given" in command(built())
    assert "--as-given" in command(built(trials={"workers": 2}))
    assert "--as-given" not in command(built(algorithm=Algorithm("random")))


def test_katibs_bayesianoptimization_has_no_double_that_may_be_0() -> None:
    document = built(algorithm=Algorithm("bayesianoptimization"))
    found = {each["name"]: each["feasibleSpace"] for each in document["spec"]["parameters"]}
    # Nearest to 0, which is the level that a trial takes.
    assert found["dense.sparsity"] == {"min": "0.075", "max": "0.9"}
    assert found["dense.bits"] == {"min": "2", "max": "8"}
    assert found["block_1/conv1.kept"]["min"] == "0.25"


def test_a_grid_lists_the_levels() -> None:
    document = built(algorithm=Algorithm("grid"))
    refuse_invalid(document, katib_validator("v1beta1.Experiment"))
    found = {each["name"]: each["feasibleSpace"] for each in document["spec"]["parameters"]}
    assert {each["parameterType"] for each in document["spec"]["parameters"]} == {"discrete"}
    assert found["conv2.kept"] == {"list": ["0.4", "0.8", "1"]}
    assert found["dense.bits"] == {"list": ["2", "3", "4", "8"]}


def test_a_grid_that_katib_cannot_go_through_is_refused() -> None:
    with pytest.raises(UserError, match=r"search\.trials: the grid has 192 combinations.*received 193"):
        experiment(work(algorithm=Algorithm("grid"), trials=193), Cluster())
    many = Space(
        tuple(Parameter(f"conv{n}.kept", "kept", (f"g{n}",), (0.25, 0.5, 0.75, 1.0)) for n in range(20))
    )
    with pytest.raises(
        UserError, match=r"lists all combinations of levels, 1\.1e\+12 here.*tie layers"
    ):
        built(algorithm=Algorithm("grid"), space=many)


def test_no_secret_is_in_the_document() -> None:
    assert re.findall(r"'name': 'AWS_SECRET_ACCESS_KEY', '(\w+)'", repr(built())) == ["valueFrom"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Search"}, "An Experiment's name has at most 40 small letters"),
        ({"name": "s" * 41}, "at most 40"),
        ({"prepared": "s3://b/a b"}, r"cluster\.object_store\.work"),
        (
            {"space": Space((Parameter("conv (1).kept", "kept", ("g",), (0.5, 1.0)),))},
            r"'conv \(1\)\.kept' apart.*Rename the layer",
        ),
    ],
)
def test_what_katib_would_take_apart_is_refused(changes: Document, said: str) -> None:
    with pytest.raises(UserError, match=said):
        built(**changes)


def test_a_trial_is_told_which_modules_it_imports() -> None:
    word = Import.model_validate({"name": "my_layers", "source": "A = '$x'\n"}).word()
    for processes in (1, 2):
        document = built(trials={"workers": processes}, imports=("installed", word))
        words = shlex.split(" ".join(command(document)))
        assert {"--import=installed", f"--import={word}"} <= set(words)
