"""Objects on real API servers: created, found, changed by several at once, deleted, refused."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from pocketkube.kube import NotInTime, Refused, Session, connect, objects
from pocketkube.kube.objects import CONFIG_MAP, JOB, POD, Kind
from pocketkube.kube.pods import why_no_pods

WAITS_S = 60
NO_FINALIZERS = {"metadata": {"finalizers": None}}


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app": "tested"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def sleeping_job(name: str = "sleeps") -> dict[str, Any]:
    """A Job whose pod a restricted namespace takes; whether its image is there does not matter."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": "localhost/pause:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/pause"],
        "securityContext": {**security, "runAsUser": 1000},
    }
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def core(session: Session) -> client.CoreV1Api:
    """Another client of the same API server."""
    return client.CoreV1Api(session.server.client)


def data_of(session: Session, name: str = "settings") -> dict[str, str]:
    """As another client reads it."""
    return core(session).read_namespaced_config_map(name, session.namespace).data


def pods_of(session: Session) -> list[str]:
    return [
        pod.metadata.name for pod in client.CoreV1Api().list_namespaced_pod(session.namespace).items
    ]


def test_an_object_that_is_there_is_found_and_left_as_it_is(bare: Session) -> None:
    first = objects.create(bare, config_map(epochs="3"))
    again = objects.create(bare, config_map(epochs="9"))
    assert (first.is_new, again.is_new) == (True, False)
    assert again.document["metadata"]["uid"] == first.document["metadata"]["uid"]
    assert again.document["data"] == data_of(bare) == {"epochs": "3"}


def test_what_is_still_being_deleted_is_not_adopted(bare: Session) -> None:
    held = config_map(epochs="3")
    held["metadata"]["finalizers"] = ["pocketkube.io/test"]
    old = objects.create(bare, held).document
    core(bare).delete_namespaced_config_map("settings", bare.namespace)
    let_go = threading.Timer(2, objects.patch, (bare, CONFIG_MAP, "settings", NO_FINALIZERS))
    let_go.start()
    new = objects.create(bare, config_map(epochs="9"))
    let_go.join()
    assert new.is_new
    assert new.document["metadata"]["uid"] != old["metadata"]["uid"]
    assert data_of(bare) == {"epochs": "9"}


def test_two_that_change_an_object_at_once_lose_nothing(bare: Session) -> None:
    objects.create(bare, config_map(count="0"))
    calls = []

    def add_one(found: dict[str, Any]) -> dict[str, Any]:
        calls.append(found)
        return {**found, "data": {"count": str(int(found["data"]["count"]) + 1)}}

    def ten_times() -> None:
        for _ in range(10):
            objects.update(bare, CONFIG_MAP, "settings", add_one)

    threads = [threading.Thread(target=ten_times) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert data_of(bare) == {"count": "20"}
    # Or there was no conflict, and nothing was tested.
    assert len(calls) > 20


def test_what_is_applied_no_more_goes_and_what_others_set_stays(bare: Session) -> None:
    objects.apply(bare, config_map(epochs="3", batch="64"))
    core(bare).patch_namespaced_config_map("settings", bare.namespace, {"data": {"by": "them"}})
    objects.apply(bare, config_map(epochs="4"))
    assert data_of(bare) == {"epochs": "4", "by": "them"}


def test_a_patch_sets_and_removes_fields(bare: Session) -> None:
    objects.create(bare, config_map(epochs="3", batch="64"))
    objects.patch(bare, CONFIG_MAP, "settings", {"data": {"epochs": None, "rate": "0.1"}})
    assert data_of(bare) == {"batch": "64", "rate": "0.1"}


def test_a_list_of_several_pages_is_whole(bare: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_PAGE", 2)
    names = [f"settings-{number}" for number in range(5)]
    for name in names:
        objects.create(bare, config_map(name))
    found = objects.find(bare, CONFIG_MAP, labels="app=tested")
    assert [objects.name_of(document) for document in found] == names
    assert {objects.kind_of(document) for document in found} == {CONFIG_MAP}
    assert objects.find(bare, CONFIG_MAP, labels="app=other") == ()


def test_what_a_deleted_job_owns_goes_before_it(session: Session) -> None:
    objects.create(session, sleeping_job())
    wait_for(lambda: pods_of(session))
    assert objects.delete(session, JOB, "sleeps", seconds=WAITS_S)
    assert pods_of(session) == []
    assert not objects.delete(session, JOB, "sleeps")
    assert objects.get(session, JOB, "sleeps") is None


def test_what_it_owns_may_go_after_it(session: Session) -> None:
    objects.create(session, sleeping_job())
    wait_for(lambda: pods_of(session))
    began = time.monotonic()
    assert objects.delete(session, JOB, "sleeps", "Background", seconds=WAITS_S)
    # A pod's end takes seconds.
    assert time.monotonic() - began < 2
    wait_for(lambda: not pods_of(session))


def test_what_does_not_go_is_named_with_what_holds_it(bare: Session) -> None:
    held = config_map()
    held["metadata"]["finalizers"] = ["pocketkube.io/test"]
    objects.create(bare, held)
    try:
        with pytest.raises(NotInTime, match=r"ConfigMap settings in .* held by pocketkube\.io/test"):
            objects.delete(bare, CONFIG_MAP, "settings", seconds=1)
    finally:
        objects.patch(bare, CONFIG_MAP, "settings", NO_FINALIZERS)


def test_a_quota_is_refused_in_the_servers_words(session: Session) -> None:
    quota(session, {"count/jobs.batch": "1"})
    objects.create(session, sleeping_job("first"))
    with pytest.raises(Refused) as caught:
        objects.create(session, sleeping_job("second"))
    line = str(caught.value)
    assert line.startswith(f"Job second in namespace {session.namespace}: ")
    assert (
        "exceeded quota: small, requested: count/jobs.batch=1, used: count/jobs.batch=1, limited"
        in line
    )
    assert line.endswith("; ask for less, end what runs, or have the namespace's ResourceQuota raised.")
    assert "\n" not in line


def test_a_quota_that_a_jobs_pod_exceeds_is_told_by_its_events(session: Session) -> None:
    quota(session, {"pods": "0"})
    job = objects.create(session, sleeping_job()).document
    stuck = wait_for(lambda: why_no_pods(session, job))
    assert stuck.reason == "FailedCreate"
    assert "exceeded quota: small, requested: pods=1" in str(stuck)
    assert str(stuck).startswith("Job sleeps does not start (FailedCreate): ")


def quota(session: Session, hard: dict[str, str]) -> None:
    api = core(session)
    api.create_namespaced_resource_quota(
        session.namespace, {"metadata": {"name": "small"}, "spec": {"hard": hard}}
    )
    wait_for(lambda: api.read_namespaced_resource_quota("small", session.namespace).status.hard)


def test_an_account_without_the_right_is_refused_and_with_it_is_not(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = account(session, tmp_path, monkeypatch)
    user = f"system:serviceaccount:{session.namespace}:stranger"
    with pytest.raises(Refused) as caught:
        objects.create(theirs, sleeping_job())
    assert caught.value.status == 403
    assert f'User "{user}" cannot create resource "jobs" in API group "batch"' in str(caught.value)
    assert str(caught.value).endswith("; grant it to that account by a Role and a RoleBinding.")
    assert not may(theirs, "create", "batch", "jobs")

    rules = [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}]
    rbac = client.RbacAuthorizationV1Api(session.server.client)
    rbac.create_namespaced_role(session.namespace, {"metadata": {"name": "creator"}, "rules": rules})
    binding = {
        "metadata": {"name": "creator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "creator"},
        "subjects": [{"kind": "ServiceAccount", "name": "stranger", "namespace": session.namespace}],
    }
    rbac.create_namespaced_role_binding(session.namespace, binding)
    wait_for(lambda: may(theirs, "create", "batch", "jobs"))
    assert objects.create(theirs, sleeping_job()).is_new


def may(session: Session, verb: str, group: str, resource: str) -> bool:
    attributes = {"namespace": session.namespace, "verb": verb, "group": group, "resource": resource}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    return objects.question(session, review)["status"]["allowed"]


def account(session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Session:
    """A session of a service account that may do nothing."""
    api = core(session)
    api.create_namespaced_service_account(session.namespace, {"metadata": {"name": "stranger"}})
    token = api.create_namespaced_service_account_token(
        "stranger", session.namespace, {"spec": {"expirationSeconds": 600}}
    ).status.token
    settings = session.server.client.configuration
    content = {
        "current-context": "there",
        "clusters": [
            {
                "name": "there",
                "cluster": {"server": settings.host, "certificate-authority": settings.ssl_ca_cert},
            }
        ],
        "users": [{"name": "stranger", "user": {"token": token}}],
        "contexts": [
            {
                "name": "there",
                "context": {"cluster": "there", "user": "stranger", "namespace": session.namespace},
            }
        ],
    }
    (folder / "stranger").write_text(yaml.safe_dump(content))
    with monkeypatch.context() as there:
        there.setenv("KUBECONFIG", str(folder / "stranger"))
        # The namespace is the kubeconfig's.
        return connect()


def test_a_pod_that_asks_for_more_than_the_namespace_grants(session: Session) -> None:
    spec = {"containers": [{"name": "main", "image": "x"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "free"}, "spec": spec}
    with pytest.raises(Refused, match=r'violates PodSecurity "restricted.*; the namespace enforces'):
        objects.create(session, pod)


@pytest.mark.parametrize(
    ("kind", "document", "said"),
    [
        pytest.param(
            Kind("v1", "ConfigMap"),
            {"metadata": {"name": "Wrong_name"}},
            'ConfigMap "Wrong_name" is invalid: metadata.name: Invalid value',
            id="invalid",
        ),
        pytest.param(
            Kind("kubeflow.org/v9", "MPIJob"),
            {"metadata": {"name": "train"}},
            "MPIJob of kubeflow.org/v9: the API server refuses: the server could not find the "
            "requested resource; that version of the kind is not installed",
            id="unknown version",
        ),
        pytest.param(
            Kind("v1", "Sailboat"),
            {"metadata": {"name": "train"}},
            "Sailboat of v1: the API server refuses: the server could not find",
            id="unknown kind",
        ),
    ],
)
def test_a_refusal_is_one_line(bare: Session, kind: Kind, document: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        objects.create(bare, {"apiVersion": kind.api_version, "kind": kind.name, **document})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_namespace_that_is_not_there(bare: Session) -> None:
    nowhere = bare.within("pocketkube-nowhere")
    with pytest.raises(Refused, match='namespaces "pocketkube-nowhere" not found'):
        objects.create(nowhere, config_map())
    assert objects.get(nowhere, CONFIG_MAP, "settings") is None
    assert objects.find(nowhere, POD) == ()


def wait_for(found: Any, seconds: float = WAITS_S) -> Any:
    """Waits until something is there, and returns it."""
    ends = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < ends, "it did not come in time"
        time.sleep(0.2)
    return answer
