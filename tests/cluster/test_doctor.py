"""`pocketkube doctor` on the cluster that KUBECONFIG names: what is right, and what is not."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from pocketkube.kube.doctor.rights import RUNNER
from tests.cluster.backend import Backend

NOBODY = "http://127.0.0.1:9"
SPEC = """\
model: lenet
dataset: digits
stages: [prune_channels]
target: {speedup: 2}
cluster:
"""


def examined(*arguments: object) -> tuple[int, dict[str, list[Any]]]:
    """The exit code, and the findings by what was looked at."""
    done = subprocess.run(
        # No back end is asked where none is named.
        [sys.executable, "-m", "pocketkube", "doctor", "--json", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "KF_PIPELINES_ENDPOINT": NOBODY},
    )
    found: dict[str, list[Any]] = {}
    assert done.stdout, done.stderr
    for finding in json.loads(done.stdout):
        found.setdefault(finding["subject"], []).append(finding)
    return done.returncode, found


def levels(findings: Sequence[Any]) -> list[str]:
    return [finding["level"] for finding in findings]


def account(namespace: str, name: str) -> None:
    """A service account with what tasks need, but for what is told by its name."""
    rules = [
        {"apiGroups": [each.group], "resources": [each.resource], "verbs": list(each.verbs)}
        for each in RUNNER
        if name != "without-events" or each.resource != "events"
    ]
    core, rights = client.CoreV1Api(), client.RbacAuthorizationV1Api()
    core.create_namespaced_service_account(namespace, {"metadata": {"name": name}})
    rights.create_namespaced_role(namespace, {"metadata": {"name": name}, "rules": rules})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    rights.create_namespaced_role_binding(namespace, binding)


@pytest.fixture
def spec(tmp_path: Path) -> Any:
    def written(cluster: str) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_text(SPEC + "".join(f"  {line}\n" for line in cluster.splitlines()))
        return path

    return written


def test_a_namespace_that_is_right_but_for_what_is_not_there(namespace: str) -> None:
    code, found = examined("--namespace", namespace)
    assert code == 2
    assert levels(found["API server"]) == ["right"]
    assert levels(found["mpijobs.kubeflow.org"]) == ["right"]
    assert "pod security restricted" in found["namespace"][0]["sentence"]
    assert levels(found["quota"]) == ["right"]
    # An administrator's.
    assert set(levels(found["rights"])) == {"right"}
    assert levels(found["Kubeflow Pipelines"]) == ["wrong"]
    assert "cannot be reached" in found["Kubeflow Pipelines"][0]["sentence"]
    assert levels(found["tasks' S3 server"]) == ["wrong"]
    assert "create configmap pocketkube-object-store" in found["tasks' S3 server"][0]["remedy"]


def test_a_namespace_that_is_not_there() -> None:
    code, found = examined("--namespace", "pocketkube-nowhere")
    assert code == 2
    assert found["namespace"][0]["remedy"] == "kubectl create namespace pocketkube-nowhere"


def test_the_rights_of_a_service_account(namespace: str) -> None:
    account(namespace, "without-events")
    _, found = examined("--namespace", namespace, "--service-account", "without-events")
    (lacking,) = (each for each in found["rights"] if each["level"] == "wrong")
    assert lacking["sentence"].startswith("without-events may not list events")
    # The command that mends it, as it stands.
    subprocess.run(lacking["remedy"], shell=True, check=True, capture_output=True)
    _, found = examined("--namespace", namespace, "--service-account", "without-events")
    assert set(levels(found["rights"])) == {"right"}


def test_a_service_account_that_is_not_there(namespace: str) -> None:
    _, found = examined("--namespace", namespace, "--service-account", "nobody")
    assert found["rights"][0]["remedy"] == f"kubectl -n {namespace} create serviceaccount nobody"


def test_the_s3_server_of_tasks(namespace: str, store: str) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
    core = client.CoreV1Api()
    document = {"metadata": {"name": "pocketkube-object-store"}, "data": {"endpoint": endpoint}}
    core.create_namespaced_config_map(namespace, document)
    bucket = store.removeprefix("s3://").partition("/")[0]
    _, found = examined("--namespace", namespace)
    assert found["tasks' S3 server"][0] == {
        "level": "right",
        "subject": "tasks' S3 server",
        "sentence": f"{endpoint} answers, and has the bucket {bucket}",
        "remedy": "",
    }
    core.patch_namespaced_secret(
        "mlpipeline-minio-artifact", namespace, {"stringData": {"secretkey": "another"}}
    )
    _, found = examined("--namespace", namespace)
    assert (
        "refuses the keys of Secret mlpipeline-minio-artifact"
        in found["tasks' S3 server"][0]["sentence"]
    )
    core.patch_namespaced_secret(
        "mlpipeline-minio-artifact", namespace, {"stringData": {"accesskey": "tester\n"}}
    )
    _, found = examined("--namespace", namespace)
    said = found["tasks' S3 server"][0]["sentence"]
    assert said.startswith("accesskey of Secret mlpipeline-minio-artifact has a space, a line break")
    core.delete_namespaced_secret("mlpipeline-minio-artifact", namespace)
    _, found = examined("--namespace", namespace)
    assert "there is no Secret mlpipeline-minio-artifact" in found["tasks' S3 server"][0]["sentence"]


def test_nodes_that_no_label_and_no_room_leaves(namespace: str, spec: Any) -> None:
    file = spec("task: {memory: 900Ti}\nbenchmark: {arch: arm64, node_selector: {pool: phones}}")
    code, found = examined(file, "--namespace", namespace)
    assert code == 2
    assert "no node is large enough: memory 900Ti is asked for" in found["cluster.task"][0]["sentence"]
    benchmark = found["cluster.benchmark"][0]
    assert "no node has the labels kubernetes.io/arch=arm64 pool=phones" in benchmark["sentence"]
    assert benchmark["remedy"].startswith("kubectl label node ")
    # Neither MPIJobs nor TrainJobs are asked for.
    assert "cluster.workers" not in found


def test_a_quota_that_is_used_up_and_asks_for_what_pods_do_not_say(namespace: str, spec: Any) -> None:
    core, hard = client.CoreV1Api(), {"limits.memory": "1Gi", "requests.memory": "1Gi", "pods": "0"}
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "tight"}, "spec": {"hard": hard}}
    )
    # It gives requests a default, and limits none.
    asked = {"type": "Container", "defaultRequest": {"memory": "1Mi"}}
    core.create_namespaced_limit_range(
        namespace, {"metadata": {"name": "asked"}, "spec": {"limits": [asked]}}
    )
    _, found = examined(spec("task: {cpu: '1'}"), "--namespace", namespace)
    full, unsaid = found["quota"]
    assert full["sentence"] == "tight is used up: pods 0 of 0"
    assert "counts limits.memory: it refuses pods that ask for none" in unsaid["sentence"]


def test_pods_that_a_quota_refuses_are_no_question_of_rights(namespace: str) -> None:
    document = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    client.CoreV1Api().create_namespaced_resource_quota(namespace, document)
    code, found = examined("--namespace", namespace, "--try-images")
    assert code == 2
    assert found["images"][0]["level"] == "wrong"
    assert "exceeded quota: none" in found["images"][0]["sentence"]


def test_images_are_tried_and_their_pods_removed(namespace: str, spec: Any) -> None:
    file = spec("benchmark_image: no-such-host.invalid/none:1\nbenchmark: {nodes: 2}")
    _, found = examined(file, "--namespace", namespace, "--try-images")
    runtime, benchmark = found["images"]
    assert runtime["level"] == "right", runtime
    assert "no-such-host.invalid/none:1" in benchmark["sentence"]
    assert "push no-such-host.invalid/none:1 to a registry" in benchmark["remedy"]
    left = client.CoreV1Api().list_namespaced_pod(namespace).items
    assert all(pod.metadata.deletion_timestamp for pod in left)


def test_a_back_end_and_how_it_keeps_its_pipelines(backend: Backend) -> None:
    _, found = examined("--endpoint", backend.endpoint, "--kubeflow", backend.namespace)
    (answering,) = found["Kubeflow Pipelines"]
    assert answering["level"] == "right"
    assert answering["sentence"].startswith(f"{backend.endpoint} answers")
    kept = found["pipelines"][0]["sentence"]
    store = backend.client.get_kfp_healthz().pipeline_store
    assert ("database" in kept) is (store != "kubernetes")
    # Without --namespace it is the back end's own that is looked at.
    assert found["namespace"][0]["sentence"].startswith(backend.namespace)
