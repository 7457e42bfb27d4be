"""The Job that measures: alone on its node, whole CPUs, restricted, and on nodes that are asked for."""

from typing import Any

import pytest

from pocketkube.errors import UserError
from pocketkube.kube.benchmark_job import INDEX, Measurement, benchmark_job
from pocketkube.kube.pod_parts import Owner
from pocketkube.spec import parse_settings
from pocketkube.spec.sections import Cluster

SETTINGS = {
    "benchmark_image": "registry/benchmark:1",
    "object_store": {"secret": "keys"},
    "benchmark": {
        "arch": "arm64",
        "cpu": "4",
        "memory": "3Gi",
        "node_selector": {"pool": "phones"},
        "tolerations": [{"key": "phones", "operator": "Exists", "effect": "NoSchedule"}],
        "image_pull_secrets": ["pull"],
        "timeout_minutes": 20,
    },
}
WORK = Measurement(
    name="benchmark-litert-0123456789ab",
    stage="benchmark_litert",
    argv=["stage", "benchmark_litert", "--output", f"s3://b/work/outputs/{INDEX}"],
    environment={"AWS_ENDPOINT_URL_S3": "http://store:9000"},
    nodes=3,
    owner=Owner("v1", "Pod", "task", "uid-1"),
)


def built(**changes: Any) -> dict[str, Any]:
    settings = SETTINGS | {"benchmark": SETTINGS["benchmark"] | changes}  # type: ignore[operator]
    return benchmark_job(WORK, parse_settings(Cluster, settings, "cluster"))


def pod(**changes: Any) -> dict[str, Any]:
    return built(**changes)["spec"]["template"]["spec"]


def test_its_pods_are_guaranteed_whole_cpus() -> None:
    (container,) = pod()["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"] == {"cpu": "4", "memory": "3Gi"}


def test_it_has_no_gpus() -> None:
    """LiteRT files are measured on CPUs: a GPU that is asked for would be taken and not used."""
    with pytest.raises(UserError, match=r"benchmark\.gpus: is not a known key"):
        parse_settings(Cluster, {"benchmark": {"gpus": 1}}, "cluster")


def test_each_of_its_pods_has_a_node_without_another_that_measures() -> None:
    job = built()
    spec, template = job["spec"], job["spec"]["template"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    (term,) = template["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["namespaceSelector"] == {}
    wanted = term["labelSelector"]["matchLabels"]
    assert wanted.items() <= template["metadata"]["labels"].items()
    (container,) = template["spec"]["containers"]
    assert container["args"][-1].endswith("/$(JOB_COMPLETION_INDEX)")


def test_it_asks_for_the_pool_and_puts_up_with_its_taints() -> None:
    assert pod()["nodeSelector"] == {"kubernetes.io/arch": "arm64", "pool": "phones"}
    keys = {(each["key"], each.get("value")) for each in pod()["tolerations"]}
    assert keys == {("phones", None), ("kubernetes.io/arch", "arm64")}
    anywhere = pod(arch="any", node_selector={}, tolerations=[])
    assert (anywhere["nodeSelector"], anywhere["tolerations"]) == ({}, [])


def test_it_is_restricted_and_has_no_rights() -> None:
    spec = pod()
    (container,) = spec["containers"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_keys_come_from_the_secret_and_stand_nowhere_else() -> None:
    (container,) = pod()["containers"]
    env = {each["name"]: each for each in container["env"]}
    assert env["AWS_ENDPOINT_URL_S3"]["value"] == "http://store:9000"
    for name, key in (("AWS_ACCESS_KEY_ID", "accesskey"), ("AWS_SECRET_ACCESS_KEY", "secretkey")):
        reference = env[name]["valueFrom"]["secretKeyRef"]
        assert (reference["name"], reference["key"]) == ("keys", key)
    assert env["POCKETKUBE_STORE_SECRET"]["value"] == "keys"
    assert env["POCKETKUBE_NODE"]["valueFrom"]["fieldRef"]["fieldPath"] == "spec.nodeName"


def test_it_goes_with_the_task_and_ends_in_time() -> None:
    job = built()
    assert job["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "task", "uid": "uid-1"}
    ]
    # A pod measures for 20 minutes at most, after up to 10 in which it waits for its node.
    assert pod()["activeDeadlineSeconds"] == 1200
    assert job["spec"]["activeDeadlineSeconds"] == 1800
    # What the stage refuses is not tried again; a lost node does not count.
    refused, lost = job["spec"]["podFailurePolicy"]["rules"]
    assert (refused["action"], refused["onExitCodes"]["values"]) == ("FailJob", [2])
    assert lost["action"] == "Ignore"


@pytest.mark.parametrize("section", ["workers", "benchmark"])
def test_a_job_that_would_be_gone_before_its_end_is_read_is_refused(section: str) -> None:
    refused = rf"cluster: {section}\.ttl_seconds: must be at least 60; received 0"
    with pytest.raises(UserError, match=refused):
        parse_settings(Cluster, {section: {"ttl_seconds": 0}}, "cluster")
