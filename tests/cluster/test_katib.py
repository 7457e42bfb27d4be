"""Experiments on a real Katib: trials as Jobs and as MPIJobs, a service that is lost, wrong settings.

Where the cluster has no Katib, or it does not know what a test needs, that test is skipped.
"""

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import yaml
from kubernetes import client

from pocketkube.data import load_dataset
from pocketkube.errors import UserError
from pocketkube.files.records import read_document
from pocketkube.kube import Session, objects
from pocketkube.kube.katib.experiment import INJECTION, OUR_ALGORITHMS, Algorithm, ExperimentWork
from pocketkube.kube.katib.trials import TRIAL
from pocketkube.kube.objects import POD, Kind, met_condition, name_of
from pocketkube.launch.cluster_jobs import store_of
from pocketkube.launch.katib import EXPERIMENT, RunningExperiment, start_experiment
from pocketkube.launch.outcome import Cause
from pocketkube.models import build_model
from pocketkube.search.facts import SearchFacts
from pocketkube.search.milp import solve
from pocketkube.search.prepared import open_prepared, prepare_search
from pocketkube.search.problem import Problem
from pocketkube.search.projection import project_choice
from pocketkube.search.space_of import SearchedStages
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Cluster, DatasetSettings, PruneChannels, Search, Target, Training
from pocketkube.stages.on_cluster import run_on_cluster
from pocketkube.stages.run import run_stage
from pocketkube.storage import S3Location, add_folder, parse_uri
from pocketkube.training.loop import train
from pocketkube.training.task import infer_task
from tests.cluster.jobs import IMAGE, SPEC
from tests.cluster.store import SECRET, find_store
from tests.steps import call_of

MPIJOBS = "MPIJob.v2beta1.kubeflow.org"


@pytest.fixture(scope="session")
def katib(cluster: None) -> dict[str, Any]:
    """What the cluster's Katib is told in its ConfigMap; without a Katib, none of the tests is run."""
    try:
        found = client.CoreV1Api().read_namespaced_config_map("katib-config", "kubeflow")
    except client.ApiException as error:
        pytest.skip(f"the cluster has no Katib: ConfigMap katib-config: {error.reason}")
    config: dict[str, Any] = yaml.safe_load(found.data["katib-config.yaml"])
    return config


def refuse_without(katib: dict[str, Any], *algorithms: str, resource: str = "Job.v1.batch") -> None:
    known = {each["algorithmName"] for each in katib["runtime"]["suggestions"]}
    if lacking := set(algorithms) - known:
        pytest.skip(f"the cluster's Katib does not know {' and '.join(sorted(lacking))}")
    if resource not in katib["init"]["controller"]["trialResources"]:
        pytest.skip(f"the cluster's Katib does not take {resource} as trials")


@pytest.fixture
def place(katib: dict[str, Any], namespace: str, session: Session) -> Session:
    """The test's namespace, with Katib's label."""
    body = {"metadata": {"labels": {INJECTION: "enabled"}}}
    client.CoreV1Api().patch_namespace(namespace, body)
    return session


@pytest.fixture(scope="module")
def prepare(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Problem]]:
    """Prepares searches of one small network."""
    keras.utils.set_random_seed(0)
    settings = DatasetSettings.model_validate({"builtin": "digits"})
    dataset = load_dataset(settings)
    model = build_model("lenet", dataset.input_shapes[0], 10)
    task = infer_task(model, 10)
    training = Training(epochs=2, batch_size=64)
    train(model, dataset, task, training, seed=0)

    def prepare(steps: int, speedup: float, *, reconstruct: bool = True) -> tuple[Path, Problem]:
        evaluate: Any = {"fine_tune_steps": steps, "calibration_examples": 128}
        search = Search(over=("prune_channels",), evaluate=evaluate)
        stage = PruneChannels(round_to=2, reconstruct=reconstruct)
        stages = SearchedStages(search, (stage,), Target(speedup=speedup))
        folder = tmp_path_factory.mktemp("prepared") / f"{steps}-{speedup}"
        problem = prepare_search(
            model, dataset, task, stages, folder, training=training, dataset_settings=settings
        )
        return folder, problem

    return prepare


@pytest.fixture(scope="module")
def prepared(
    prepare: Callable[..., tuple[Path, Problem]],
) -> dict[int, tuple[Path, Problem]]:
    """What trials share, by the steps that a trial is fine-tuned for."""
    return {steps: prepare(steps, 2.0) for steps in (0, 20)}


@pytest.fixture(scope="module")
def uneven(prepare: Callable[..., tuple[Path, Problem]]) -> tuple[Path, Problem]:
    """The same where trials differ by much, as little is left of the network."""
    return prepare(20, 8.0, reconstruct=False)


def section(work: str, arch: str, **trials: Any) -> Cluster:
    """The spec's section of trials in the test's namespace."""
    return Cluster.model_validate(
        {
            "image": IMAGE,
            "object_store": {"endpoint": find_store().endpoint, "secret": SECRET, "work": work},
            "trials": {"launcher": "katib", **trials},
            "workers": {"node_selector": {"kubernetes.io/arch": arch}, "pending_seconds": 120},
        }
    )


class Started:
    """Starts Experiments, which go with the test's namespace."""

    def __init__(self, session: Session, store: str, arch: str) -> None:
        self._session, self._store, self._arch = session, store, arch

    def __call__(
        self,
        prepared: tuple[Path, Problem],
        algorithm: str,
        trials: int,
        *,
        settings: dict[str, str] | None = None,
        name: str = "",
        missing: bool = False,
        **trials_section: Any,
    ) -> RunningExperiment:
        folder, problem = prepared
        place = f"{self._store}/{'none' if missing else folder.name}"
        if not missing:
            add_folder(folder, S3Location(parse_uri(place)))
        cluster = section(self._store, self._arch, **trials_section)
        if settings is None:
            ours = algorithm.startswith("pocketkube-")
            settings = {"problem": problem.to_setting(), "seed": "7"} if ours else {"random_state": "7"}
        work = ExperimentWork(
            name=name or f"search-{secrets.token_hex(4)}",
            space=problem.space,
            algorithm=Algorithm(algorithm, settings),
            prepared=place,
            costs=problem.cost_names,
            trials=trials,
            parallel=2,
            image=IMAGE,
            environment=store_of(cluster),
        )
        return start_experiment(self._session, work, problem, cluster)


@pytest.fixture
def start(place: Session, store: str, arch: str) -> Started:
    return Started(place, store, arch)


def refuse_wrong(running: RunningExperiment, problem: Problem, trials: int) -> None:
    """Each trial kept to the budget and says what it cost; its score is one."""
    assert running.outcome.cause is Cause.DONE, running.outcome.reason
    assert [trial.number for trial in running.trials] == list(range(trials))
    for trial in running.trials:
        assert trial.state == "done", trial.cause
        # Of other algorithms, nothing of the budget is left that a level could be bought for.
        is_ours = running.algorithm.startswith(OUR_ALGORITHMS)
        assert is_ours or project_choice(problem, trial.choice).choice == trial.choice
        assert problem.cost(trial.choice) <= problem.limit.most
        assert trial.costs["macs"] == pytest.approx(problem.cost(trial.choice, "macs"))
        assert 0 <= (trial.score or 0) <= 1


def service_of(session: Session, name: str) -> tuple[str, ...]:
    return tuple(map(name_of, objects.find(session, POD, f"katib.kubeflow.org/suggestion={name}")))


def test_katibs_own_random_with_jobs(
    katib: dict[str, Any], start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "random")
    folder, problem = prepared[0]
    running = start(prepared[0], "random", 4)
    lines = list(running.follow())
    refuse_wrong(running, problem, 4)
    assert sum(line.startswith("trial=") for line in lines) == 4
    # The same choice has the same score here.
    best = max(running.trials, key=lambda trial: trial.score or 0)
    here = open_prepared(folder).evaluate(best.choice)
    assert best.score == pytest.approx(here.score, abs=0.01)


@pytest.mark.parametrize("algorithm", ["pocketkube-tpe", "pocketkube-milp"])
def test_our_other_algorithms_begin_with_the_sensitivity_models_best(
    katib: dict[str, Any],
    start: Started,
    prepared: dict[int, tuple[Path, Problem]],
    algorithm: str,
) -> None:
    refuse_without(katib, algorithm)
    running = start(prepared[0], algorithm, 12)
    refuse_wrong(running, prepared[0][1], 12)
    assert running.trials[0].choice == tuple(solve(prepared[0][1]).choice)
    assert running.trials[0].sampler == "milp"
    assert len({trial.choice for trial in running.trials}) == 12


@pytest.mark.parametrize("algorithm", ["tpe", "cmaes", "bayesianoptimization"])
def test_katibs_other_algorithms_with_jobs(
    katib: dict[str, Any],
    start: Started,
    prepared: dict[int, tuple[Path, Problem]],
    algorithm: str,
) -> None:
    refuse_without(katib, algorithm)
    running = start(prepared[0], algorithm, 4)
    refuse_wrong(running, prepared[0][1], 4)


def test_katibs_grid_goes_through_levels_that_are_not_evenly_spaced(
    katib: dict[str, Any], start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "grid")
    running = start(prepared[0], "grid", 4)
    refuse_wrong(running, prepared[0][1], 4)


def test_a_trial_that_does_badly_is_stopped_between_steps_of_its_fine_tuning(
    katib: dict[str, Any], place: Session, start: Started, uneven: tuple[Path, Problem]
) -> None:
    refuse_without(katib, "random")
    if not katib["runtime"].get("earlyStoppings"):
        pytest.skip("the cluster's Katib has no early stopping")
    # Katib's own container of it cannot be restricted.
    unrestricted = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
    client.CoreV1Api().patch_namespace(place.namespace, unrestricted)
    running = start(uneven, "random", 10, early_stopping=True)
    refuse_wrong(running, uneven[1], 10)
    stopped = [trial for trial in running.trials if trial.cause]
    assert {trial.cause for trial in stopped} == {"stopped early"}
    # Nothing is held against less than three that came to their end, and the best came to its own.
    assert min(trial.number for trial in stopped) >= 3
    best = max(running.trials, key=lambda trial: trial.score or 0)
    assert best not in stopped


def test_ddpg_whose_service_is_lost_half_way_loses_nothing(
    katib: dict[str, Any], place: Session, start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "pocketkube-ddpg")
    running = start(prepared[0], "pocketkube-ddpg", 12)
    deleted: list[str] = []
    for line in running.follow():
        if "done=5/12" in line:
            (service,) = service_of(place, running.name)
            client.CoreV1Api().delete_namespaced_pod(service, place.namespace)
            deleted.append(service)
    assert deleted
    refuse_wrong(running, prepared[0][1], 12)
    # The next pod was told what the lost one knew.
    problem = prepared[0][1]
    if problem.losses:
        assert running.trials[0].choice == tuple(solve(problem).choice)


def test_mpijobs_share_a_trials_fine_tuning(
    katib: dict[str, Any], place: Session, start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "random", resource=MPIJOBS)
    running = start(prepared[20], "random", 2, workers=2)
    refuse_wrong(running, prepared[20][1], 2)
    jobs = objects.find(place, Kind("kubeflow.org/v2beta1", "MPIJob"))
    assert {name_of(job) for job in jobs} == {name_of(trial) for trial in objects.find(place, TRIAL)}
    for job in jobs:
        assert met_condition(job, "Succeeded")
        assert job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] == 2


@pytest.mark.parametrize(
    ("algorithm", "settings", "said"),
    [
        ("pocketkube-ddpg", {"problem": "nonsense", "seed": "7"}, "problem"),
        ("pocketkube-ddpg", {"seed": "7"}, "problem"),
        ("random", {"random_state": "-1"}, "random_state"),
    ],
)
def test_wrong_settings_are_refused_by_name(
    katib: dict[str, Any],
    start: Started,
    prepared: dict[int, tuple[Path, Problem]],
    algorithm: str,
    settings: dict[str, str],
    said: str,
) -> None:
    refuse_without(katib, algorithm)
    running = start(prepared[0], algorithm, 2, settings=settings)
    assert running.outcome.cause is Cause.USER_ERROR
    assert running.outcome.reason.startswith(f"The algorithm {algorithm} refuses: ")
    assert said in running.outcome.reason
    assert running.trials == ()


def test_trials_that_fail_say_why_and_the_experiment_is_begun_anew(
    katib: dict[str, Any], start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "random")
    running = start(prepared[0], "random", 2, missing=True, max_failed=1)
    assert "/none" in running.outcome.reason
    assert "cluster.trials.max_failed" in running.outcome.reason
    assert {trial.state for trial in running.trials} <= {"failed", "running"}
    again = start(prepared[0], "random", 1, name=running.name)
    refuse_wrong(again, prepared[0][1], 1)


def test_it_is_found_again_by_whoever_follows_it_next(
    katib: dict[str, Any], start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "random")
    first = start(prepared[0], "random", 3)
    for line in first.follow():
        if line.startswith("trial="):
            break
    second = start(prepared[0], "random", 3, name=first.name)
    assert "is there already" in next(second.follow())
    refuse_wrong(second, prepared[0][1], 3)
    assert {trial.choice for trial in first.trials} <= {trial.choice for trial in second.trials}


def test_one_that_has_ended_is_given_more_trials(
    katib: dict[str, Any], place: Session, start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "pocketkube-ddpg")
    problem = prepared[0][1]
    first = start(prepared[0], "pocketkube-ddpg", 2, resume="LongRunning")
    refuse_wrong(first, problem, 2)
    client.CustomObjectsApi().patch_namespaced_custom_object(
        "kubeflow.org",
        "v1beta1",
        place.namespace,
        "experiments",
        first.name,
        {"spec": {"maxTrialCount": 4}},
    )
    ends = time.monotonic() + 60
    while met_condition(objects.get(place, EXPERIMENT, first.name) or {}, "Succeeded"):
        assert time.monotonic() < ends, "Katib has not gone on"
        time.sleep(0.5)
    second = start(prepared[0], "pocketkube-ddpg", 4, name=first.name, resume="LongRunning")
    refuse_wrong(second, problem, 4)
    assert [trial.choice for trial in second.trials[:2]] == [trial.choice for trial in first.trials]


def test_cancelled_it_goes_with_all_it_has_started(
    katib: dict[str, Any], place: Session, start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    refuse_without(katib, "random")
    running = start(prepared[0], "random", 6)
    lines = running.follow()
    next(lines)
    next(lines)
    running.cancel()
    ends = time.monotonic() + 90
    while left := (*objects.find(place, TRIAL), *objects.find(place, POD)):
        assert time.monotonic() < ends, [name_of(each) for each in left]
        time.sleep(1)


def test_the_stage_finds_the_same_with_pods_and_with_processes(
    katib: dict[str, Any],
    place: Session,
    store: str,
    arch: str,
    steps: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_without(katib, "pocketkube-ddpg")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig_of(place.namespace, tmp_path)))
    evaluate = {"fine_tune_steps": 0, "calibration_examples": 128}
    search = {"over": ["prune_channels"], "trials": 4, "evaluate": evaluate}
    spec = parse_spec({**SPEC, "search": search})
    inputs = {"model": steps["train_model"]}
    here, there = (
        call_of(spec, "search_ratios", inputs, tmp_path / name) for name in ("here", "there")
    )
    run_stage(here)
    run_on_cluster(there, section(store, arch))
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert (tmp_path / "there/ratios.yaml").read_text() == (tmp_path / "here/ratios.yaml").read_text()
    mine, theirs = (
        read_document(SearchFacts, tmp_path / name / "search.json") for name in ("here", "there")
    )
    assert [trial.values for trial in theirs.trials] == [trial.values for trial in mine.trials]
    for one, other in zip(theirs.trials, mine.trials, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.01)
        assert one.costs == pytest.approx(other.costs)
        assert one.sampler == other.sampler


def contents(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def kubeconfig_of(namespace: str, folder: Path) -> Path:
    """A kubeconfig whose namespace is the test's."""
    document = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for context in document["contexts"]:
        context["context"]["namespace"] = namespace
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(document))
    return file


def test_an_algorithm_that_katib_does_not_know_is_told_so(
    start: Started, prepared: dict[int, tuple[Path, Problem]]
) -> None:
    with pytest.raises(UserError, match="Katib does not know the algorithm pocketkube-none"):
        start(prepared[0], "pocketkube-none", 2)


def test_a_namespace_without_katibs_label_is_told_so(
    katib: dict[str, Any], session: Session, store: str, arch: str, prepared: dict[int, Any]
) -> None:
    with pytest.raises(UserError, match=f"kubectl label namespace {session.namespace} {INJECTION}"):
        Started(session, store, arch)(prepared[0], "random", 2)
