"""An Experiment is started, found again, followed and given up, with a test in Katib's place.

The API server is real; the test does to the objects what a real Katib was seen to do. What needs a
real one is in test_katib.py.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config

from pocketkube.errors import UserError
from pocketkube.kube import Session, objects
from pocketkube.kube.katib.experiment import INJECTION, Algorithm, ExperimentWork
from pocketkube.kube.katib.trials import SUGGESTION, TRIAL
from pocketkube.launch.katib import EXPERIMENT, RunningExperiment, start_experiment
from pocketkube.launch.outcome import Cause
from pocketkube.spec.sections import Cluster
from tests.cluster.faulty import faulty
from tests.cluster.lone_api_server import LoneApiServer
from tests.search.synthetic import synthetic
from tests.storage.relay import Cut

PROBLEM = synthetic(3).problem
LIMIT_S = 60


@pytest.fixture(scope="module")
def kinds(lone: LoneApiServer) -> Iterator[None]:
    """Katib's kinds, whose fields nobody checks, as in Katib's own CRDs."""
    api = client.ApiextensionsV1Api(_client(lone))
    names = ("Experiment", "Trial", "Suggestion")
    for name in names:
        plural = f"{name.lower()}s"
        api.create_custom_resource_definition(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.kubeflow.org"},
                "spec": {
                    "group": "kubeflow.org",
                    "scope": "Namespaced",
                    "names": {"kind": name, "plural": plural, "singular": name.lower()},
                    "versions": [
                        {
                            "name": "v1beta1",
                            "served": True,
                            "storage": True,
                            "schema": {
                                "openAPIV3Schema": {
                                    "type": "object",
                                    "x-kubernetes-preserve-unknown-fields": True,
                                }
                            },
                        }
                    ],
                },
            }
        )
    # Its first answers may not know a kind yet.
    time.sleep(2)
    yield
    for name in names:
        api.delete_custom_resource_definition(f"{name.lower()}s.kubeflow.org")


def _client(lone: LoneApiServer) -> client.ApiClient:
    settings = client.Configuration()
    config.load_kube_config(str(lone.kubeconfig), client_configuration=settings)
    return client.ApiClient(settings)


@pytest.fixture
def labelled(bare: Session, kinds: None) -> Session:
    """A namespace with Katib's label."""
    body = {"metadata": {"labels": {INJECTION: "enabled"}}}
    client.CoreV1Api(bare.server.client).patch_namespace(bare.namespace, body)
    return bare


def start(
    session: Session, trials: int = 3, name: str = "", pending_seconds: int = 600, **section: Any
) -> RunningExperiment:
    work = ExperimentWork(
        name=name or f"search-{secrets.token_hex(4)}",
        space=PROBLEM.space,
        algorithm=Algorithm("pocketkube-milp", {"problem": PROBLEM.to_setting(), "seed": "0"}),
        prepared="s3://mlpipeline/prepared",
        costs=("macs",),
        trials=trials,
        parallel=1,
        image="pocketkube:0.1.0",
    )
    cluster = Cluster.model_validate(
        {
            "trials": {"launcher": "katib", **section},
            "workers": {"pending_seconds": pending_seconds},
        }
    )
    return start_experiment(session, work, PROBLEM, cluster)


class Katib:
    """Does what Katib does, from a thread."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name
        objects.create(session, self._document("Suggestion", name, {}))

    def does(self, *steps: Callable[["Katib"], None]) -> threading.Thread:
        thread = threading.Thread(target=lambda: [step(self) for step in steps])
        thread.start()
        return thread

    def trial(self, name: str, score: str | None = None, cause: str = "", values: str = "0.5") -> None:
        """Proposes a trial, runs it and ends it."""
        suggestion = objects.get(self._session, SUGGESTION, self._name)
        assert suggestion is not None
        before = suggestion.get("status", {}).get("suggestions", [])
        proposed = {"status": {"suggestions": [*before, {"name": name}]}}
        objects.patch(self._session, SUGGESTION, self._name, proposed)
        assigned = [{"name": each, "value": values} for each in PROBLEM.space.names]
        document = self._document("Trial", name, {"parameterAssignments": assigned})
        objects.create(self._session, document)
        time.sleep(0.3)
        metrics = {"score": score or "", "macs": "1000"}
        metrics |= {f"applied.{each}": values for each in PROBLEM.space.names}
        kind = "Failed" if score is None else "Succeeded"
        status = {
            "conditions": [{"type": kind, "status": "True", "message": cause}],
            "observation": {
                "metrics": [{"name": key, "latest": value} for key, value in metrics.items()]
            },
        }
        objects.patch(self._session, TRIAL, name, {"status": status})

    def ends(self, kind: str, said: str) -> None:
        condition = {"type": kind, "status": "True", "message": said}
        status = {"status": {"conditions": [condition]}}
        objects.patch(self._session, EXPERIMENT, self._name, status)

    def refuses(self, said: str) -> None:
        condition = {"type": "Failed", "status": "True", "message": said}
        status = {"status": {"conditions": [condition]}}
        objects.patch(self._session, SUGGESTION, self._name, status)
        self.ends("Failed", "Suggestion has failed")

    def _document(self, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        labels = {"katib.kubeflow.org/experiment": self._name}
        return {
            "apiVersion": "kubeflow.org/v1beta1",
            "kind": kind,
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
        }


def test_a_cluster_without_katib_is_told_so(bare: Session) -> None:
    body = {"metadata": {"labels": {INJECTION: "enabled"}}}
    client.CoreV1Api(bare.server.client).patch_namespace(bare.namespace, body)
    with pytest.raises(UserError, match=r"Katib is not on this cluster.*install it"):
        start(bare)


def test_a_namespace_without_its_label_is_told_so(bare: Session, kinds: None) -> None:
    with pytest.raises(UserError, match=f"kubectl label namespace {bare.namespace} {INJECTION}"):
        start(bare)
    assert objects.find(bare, EXPERIMENT) == ()


def test_each_trial_is_a_line_whatever_happens_to_the_connection(
    lone: LoneApiServer, labelled: Session
) -> None:
    faults: list[Cut | None] = [Cut(100), None, Cut(0), Cut(1500)]

    def fault(method: str, path: str) -> Cut | None:
        return faults.pop() if faults and "watch=true" in path and "/trials" in path else None

    with faulty(lone.kubeconfig, labelled.namespace, fault) as through:
        running = start(through)
        katib = Katib(labelled, running.name)
        thread = katib.does(
            # Names are in no order.
            lambda it: it.trial("z", "0.5"),
            lambda it: it.trial("a", "0.75", values="0.25"),
            lambda it: it.trial("m", cause="Trial has failed"),
            lambda it: it.ends("Succeeded", "max trial count has reached"),
        )
        lines = list(running.follow())
    thread.join()
    assert not faults
    assert lines[0].startswith(f"Experiment {running.name} is created: algorithm=pocketkube-milp")
    first, second, third = (line.split() for line in lines[1:4])
    assert first[:4] == ["trial=1", "score=0.5000", "best=0.5000", "done=1/3"]
    assert second[:4] == ["trial=2", "score=0.7500", "best=0.7500", "done=2/3"]
    assert {f"{name}=0.25" for name in PROBLEM.space.names} <= set(second)
    assert third[:4] == ["trial=3", "failed", "best=0.7500", "done=3/3"]
    assert running.outcome.cause is Cause.DONE
    assert [trial.score for trial in running.trials] == [0.5, 0.75, None]
    assert [trial.sampler for trial in running.trials] == ["milp", "milp", "milp"]
    assert running.trials[2].cause == "Trial has failed"


def test_it_is_found_again_by_its_name_and_goes_on(labelled: Session) -> None:
    first = start(labelled)
    katib = Katib(labelled, first.name)
    katib.trial("a", "0.5")
    again = start(labelled, name=first.name)
    thread = katib.does(
        lambda it: it.trial("b", "0.25"), lambda it: it.ends("Succeeded", "the goal is reached")
    )
    lines = list(again.follow())
    thread.join()
    assert "is there already, and followed" in lines[0]
    assert [trial.score for trial in again.trials] == [0.5, 0.25]
    # One that has ended gives the same once more.
    third = start(labelled, name=first.name)
    assert third.outcome.cause is Cause.DONE
    assert third.trials == again.trials


def test_the_suggestions_own_condition_says_why_it_failed(labelled: Session) -> None:
    running = start(labelled)
    Katib(labelled, running.name).refuses(
        "Validation failed: ValidateAlgorithmSettings Error: seed: has to be a number"
    )
    assert running.outcome.cause is Cause.USER_ERROR
    assert running.outcome.reason == (
        "The algorithm pocketkube-milp refuses: seed: has to be a number."
    )


def test_trials_that_fail_tell_why_an_experiment_did(labelled: Session) -> None:
    running = start(labelled)
    katib = Katib(labelled, running.name)
    katib.trial("a", cause="Trial has failed. Job reason: BackoffLimitExceeded")
    katib.ends("Failed", "Experiment has failed because max failed count has reached")
    assert running.outcome.reason == (
        "1 trial has failed, which is all that cluster.trials.max_failed allows; trial 1: Trial has "
        "failed. Job reason: BackoffLimitExceeded."
    )


def test_one_that_katib_never_takes_up_is_given_up(labelled: Session) -> None:
    running = start(labelled, pending_seconds=1)
    lines = list(running.follow())
    said = f"Experiment {running.name} does not start (NoPods): nothing is made of it"
    assert any(said in line for line in lines), lines
    assert running.outcome.cause is Cause.NOT_STARTED
    assert running.outcome.reason.startswith(said)
    # Nobody collects what is marked for deletion here.
    there = objects.get(labelled, EXPERIMENT, running.name)
    assert there is None or "deletionTimestamp" in there["metadata"]


@pytest.mark.parametrize("removes", [True, False])
def test_cancelled_it_goes_if_it_was_asked_to(labelled: Session, removes: bool) -> None:
    running = start(labelled, remove_when_cancelled=removes)
    running.cancel()
    there = objects.get(labelled, EXPERIMENT, running.name)
    # Nobody collects what is marked for deletion here.
    is_left = there is not None and "deletionTimestamp" not in there["metadata"]
    assert is_left is not removes


def test_one_that_somebody_deletes_is_told_of(labelled: Session) -> None:
    running = start(labelled)
    api = client.CustomObjectsApi(labelled.server.client)
    api.delete_namespaced_custom_object(
        "kubeflow.org", "v1beta1", labelled.namespace, "experiments", running.name
    )
    assert "was deleted while it ran" in running.outcome.reason


def test_it_outlives_the_api_server(lone: LoneApiServer, labelled: Session) -> None:
    running = start(labelled)
    katib = Katib(labelled, running.name)
    katib.trial("a", "0.5")
    lines = running.follow()
    next(lines)
    assert next(lines).startswith("trial=1 score=0.5000")
    lone.stop()
    lone.start()
    katib.trial("b", "0.75")
    katib.ends("Succeeded", "max trial count has reached")
    assert running.outcome.cause is Cause.DONE
    assert [trial.score for trial in running.trials] == [0.5, 0.75]
