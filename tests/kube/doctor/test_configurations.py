"""What KFP's launcher and Katib are told, in the forms that they take."""

import pytest
import yaml

from pocketkube.kube.doctor.finding import Level
from pocketkube.kube.doctor.katib import katib_findings
from pocketkube.kube.doctor.object_store import Store, store_of_launcher

KEYS = {"secretName": "keys", "accessKeyKey": "accesskey", "secretKeyKey": "secretkey"}
DEFAULT = {
    "endpoint": "seaweedfs.kubeflow:9000",
    "disableSSL": True,
    "region": "minio",
    "credentials": {"fromEnv": False, "secretRef": KEYS},
}


def launcher(root: str, **providers: object) -> dict[str, str]:
    return {"defaultPipelineRoot": root, "providers": yaml.safe_dump(providers)}


def test_the_store_of_the_pipeline_root() -> None:
    found = store_of_launcher(launcher("minio://mlpipeline/v2", minio={"default": DEFAULT}))
    assert found == Store(
        "http://seaweedfs.kubeflow:9000", "mlpipeline", "v2/", "minio", "keys", "accesskey", "secretkey"
    )


def test_a_bucket_of_its_own_settings() -> None:
    mine = {"bucketName": "mine", "endpoint": "s3.example", "disableSSL": "false"}
    data = launcher(
        "s3://mine/runs", s3={"default": DEFAULT, "overrides": [{"bucketName": "other"}, mine]}
    )
    found = store_of_launcher(data)
    assert found is not None
    assert (found.endpoint, found.bucket, found.secret) == ("https://s3.example", "mine", "keys")


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"defaultPipelineRoot": "s3://mine/runs"},
        launcher("gs://mine/runs", s3={"default": DEFAULT}),
        launcher("s3://mine/runs", s3={"default": {"endpoint": "a", "credentials": {"fromEnv": True}}}),
        {"defaultPipelineRoot": "s3://a/b", "providers": "s3: ["},
        {"defaultPipelineRoot": "s3://a/b", "providers": "just words"},
    ],
)
def test_no_server_is_named(data: dict[str, str]) -> None:
    assert store_of_launcher(data) is None


def katib(resources: list[str], algorithms: list[str], **controller: object) -> str:
    suggestions = [{"algorithmName": name, "image": "a"} for name in algorithms]
    return yaml.safe_dump(
        {
            "init": {"controller": {"trialResources": resources, **controller}},
            "runtime": {"suggestions": suggestions},
        }
    )


def test_a_katib_that_is_told_all() -> None:
    text = katib(
        ["Job.v1.batch", "MPIJob.v2beta1.kubeflow.org"],
        ["pocketkube-ddpg", "pocketkube-tpe", "pocketkube-milp"],
        injectSecurityContext=True,
    )
    assert [each.level for each in katib_findings(text, "kubeflow")] == [Level.RIGHT, Level.RIGHT]


def test_a_katib_as_it_comes() -> None:
    text = katib(["Job.v1.batch", "MPIJob.v1.kubeflow.org"], ["random"])
    jobs, algorithm, context = katib_findings(text, "home")
    assert "MPIJob.v2beta1.kubeflow.org" in jobs.remedy
    assert "rollout restart deployment katib-controller" in jobs.remedy
    assert "pocketkube" in algorithm.sentence
    assert "injectSecurityContext: true" in context.remedy


@pytest.mark.parametrize("text", ["", "a: [", "init: {}", "- a"])
def test_a_katib_of_another_form(text: str) -> None:
    (found,) = katib_findings(text, "home")
    assert found.level is Level.NOTE
