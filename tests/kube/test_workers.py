"""Jobs in which several processes share a stage's work, against the schemas of those who run them."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pocketkube.errors import UserError
from pocketkube.kube.mpijob import mpijob
from pocketkube.kube.pod_parts import Owner
from pocketkube.kube.trainjob import training_runtime, trainjob
from pocketkube.kube.workers import SharedWork, command
from pocketkube.spec.sections import Cluster, WorkerPods
from tests.kube.schemas import Document, crd_validator, refuse_invalid
from tests.spec.generated import settings_of

WORK = SharedWork(
    name="train-model-0123456789abcdef",
    stage="train_model",
    argv=["stage", "train_model", "--config", "{}", "--output", "s3://b/k"],
    processes=4,
    image="pocketkube:0.1.0",
    environment={"AWS_ENDPOINT_URL_S3": "http://store:9000"},
    owner=Owner("argoproj.io/v1alpha1", "Workflow", "compress", "u-1"),
)
AFFINITIES: list[Document] = [
    {},
    {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
            ]
        }
    },
]
at_random = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


@st.composite
def clusters(draw: st.DrawFn) -> Cluster:
    """Any section, but for affinity, of which only Kubernetes knows what it may hold."""
    cluster: Any = draw(settings_of(Cluster))
    affinity = draw(st.sampled_from(AFFINITIES))
    workers = cluster.workers.model_copy(update={"affinity": affinity})
    return cluster.model_copy(update={"workers": workers})


def pods_of(job: Document) -> list[Document]:
    return [replica["template"]["spec"] for replica in job["spec"]["mpiReplicaSpecs"].values()]


def refuse_unrestricted(pod: Document) -> None:
    """As Kubernetes's pod security standard "restricted" has it."""
    security = pod["securityContext"]
    assert security["runAsNonRoot"]
    assert security["runAsUser"]
    assert security["seccompProfile"]["type"] == "RuntimeDefault"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert all({"emptyDir"} == set(volume) - {"name"} for volume in pod["volumes"])
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not any("hostPort" in port for port in container.get("ports", ()))
    assert pod["automountServiceAccountToken"] is False


@given(clusters())
@at_random
def test_any_section_gives_an_mpijob_that_its_schema_allows(cluster: Cluster) -> None:
    job = mpijob(WORK, cluster)
    refuse_invalid(job, crd_validator("mpijob.v2beta1.crd.yaml"))
    for pod in pods_of(job):
        refuse_unrestricted(pod)


@given(clusters())
@at_random
def test_any_section_gives_a_trainjob_that_its_schema_allows(cluster: Cluster) -> None:
    of_an_mpijob = ("elastic", "secrets", "backoff_limit", "ttl_seconds", "clean_pods")
    usual = {name: getattr(WorkerPods(), name) for name in of_an_mpijob}
    workers = cluster.workers.model_copy(update=usual)
    cluster = cluster.model_copy(update={"workers": workers})
    refuse_invalid(trainjob(WORK, cluster), crd_validator("trainjob.v1alpha1.crd.yaml"))
    for job in training_runtime(cluster, WORK.image)["spec"]["template"]["spec"]["replicatedJobs"]:
        refuse_unrestricted(job["template"]["spec"]["template"]["spec"])


def test_a_misspelt_field_is_found() -> None:
    job = mpijob(WORK, Cluster())
    job["spec"]["runPolicy"]["backofLimit"] = 1
    with pytest.raises(AssertionError, match="backofLimit"):
        refuse_invalid(job, crd_validator("mpijob.v2beta1.crd.yaml"))


def test_what_the_section_says_is_in_the_job() -> None:
    cluster = Cluster.model_validate(
        {
            "service_account": "pocketkube-worker",
            "workers": {
                "slots": 2,
                "cpu": "4",
                "memory": "8Gi",
                "gpus": 2,
                "node_selector": {"pool": "gpu"},
                "tolerations": [{"key": "gpu", "operator": "Exists"}],
                "shared_memory": "1Gi",
                "secrets": ["hub-token"],
                "image_pull_secrets": ["registry"],
                "backoff_limit": 3,
                "deadline_minutes": 90,
                "ttl_seconds": 60,
                "clean_pods": "All",
                "queue": "team-a",
                "suspend": True,
            },
        }
    )
    job = mpijob(WORK, cluster)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["metadata"]["ownerReferences"] == [
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "compress", "uid": "u-1"}
    ]
    assert job["spec"]["runPolicy"] == {
        "backoffLimit": 3,
        "cleanPodPolicy": "All",
        "suspend": True,
        "ttlSecondsAfterFinished": 60,
        "activeDeadlineSeconds": 5400,
    }
    launcher, worker = (pod["containers"][0] for pod in pods_of(job))
    asked = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "2"}
    assert worker["resources"] == {"requests": asked, "limits": asked}
    # Four processes, two in a pod.
    assert job["spec"]["mpiReplicaSpecs"]["Worker"]["replicas"] == 2
    assert launcher["envFrom"] == [{"secretRef": {"name": "hub-token"}}]
    for pod in pods_of(job):
        assert pod["serviceAccountName"] == "pocketkube-worker"
        assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64", "pool": "gpu"}
        assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}
        assert shm in pod["volumes"]


def test_no_secret_is_in_the_document() -> None:
    text = repr(mpijob(WORK, Cluster()))
    assert re.findall(r"'name': 'AWS_SECRET_ACCESS_KEY', '(\w+)'", text) == ["valueFrom"]


def test_as_many_workers_at_least_as_at_most_are_elastic_too() -> None:
    """One that is lost is replaced, and training goes on from its last checkpoint."""
    assert "--elastic" not in command(WORK, WorkerPods())
    both = WorkerPods.model_validate({"elastic": {"min_workers": 2, "max_workers": 2}})
    bounds = ["--min", "2", "--max", "2", "--elastic", "--"]
    assert [word for word in command(WORK, both) if word in bounds] == bounds


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"elastic": {"max_workers": 4}}, "elastic: a TrainJob has no such thing"),
        ({"secrets": ["hub-token"]}, "secrets: a TrainJob has no such thing"),
        (
            {"backoff_limit": 3},
            "backoff_limit: of a TrainJob its ClusterTrainingRuntime pocketkube-mpi",
        ),
        ({"ttl_seconds": 60}, "ttl_seconds: of a TrainJob its ClusterTrainingRuntime pocketkube-mpi"),
        ({"clean_pods": "All"}, "clean_pods: of a TrainJob its ClusterTrainingRuntime pocketkube-mpi"),
    ],
    ids=["elastic", "secrets", "backoff_limit", "ttl_seconds", "clean_pods"],
)
def test_a_trainjob_is_refused_what_it_has_no_field_for(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=rf"cluster\.workers\.{said}"):
        trainjob(WORK, Cluster.model_validate({"workers": asked}))
