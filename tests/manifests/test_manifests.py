"""What an administrator applies: it renders, holds no secret, and lives within the tightest rules."""

import json
import re

import pytest
import yaml

from manifests.generate import generated, images
from pocketkube import __version__
from pocketkube.errors import UserError
from pocketkube.kube.doctor.rights import RUNNER
from pocketkube.spec import load_spec
from pocketkube.spec.sections import USUAL_WORK
from pocketkube.stages.plan import step_named
from pocketkube.storage import parse_uri
from tests.manifests.rendering import (
    APPLIED,
    MANIFESTS,
    OVERLAYS,
    Document,
    containers,
    of_kind,
    pod_templates,
    rendered,
)

RUNTIME, BENCHMARK = f"pocketkube:{__version__}", f"pocketkube-benchmark:{__version__}"
NAMESPACES = {
    "base": "pocketkube",
    "overlays/demo": "pocketkube",
    "overlays/standalone": "kubeflow",
    "overlays/kubeflow": "kubeflow-user-example-com",
}
# Whose accounts Kubeflow has made, and whose rights are added to.
OTHERS_ACCOUNTS = {"overlays/standalone": {"pipeline-runner"}, "overlays/kubeflow": {"default-editor"}}


@pytest.mark.parametrize("place", APPLIED)
def test_every_object_is_one_of_its_own(place: str) -> None:
    documents = rendered(place)
    names = [(each["apiVersion"], each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("place", OVERLAYS)
def test_an_overlay_stays_in_its_namespace(place: str) -> None:
    for each in rendered(place):
        if each["kind"] == "Namespace":
            assert each["metadata"]["name"] == NAMESPACES[place]
        else:
            assert each["metadata"]["namespace"] == NAMESPACES[place], each["metadata"]["name"]


@pytest.mark.parametrize("place", ["overlays/standalone", "overlays/kubeflow"])
def test_a_namespace_of_others_keeps_its_rules_for_others_pods(place: str) -> None:
    documents = rendered(place)
    assert not {"Namespace", "ResourceQuota", "LimitRange"} & {each["kind"] for each in documents}
    for policy in of_kind(documents, "NetworkPolicy"):
        selected = policy["spec"]["podSelector"]["matchLabels"]
        assert selected["app.kubernetes.io/part-of"] == "pocketkube"


@pytest.mark.parametrize("place", APPLIED)
def test_no_secret_is_in_a_manifest(place: str) -> None:
    documents = rendered(place)
    assert not of_kind(documents, "Secret")
    for template in pod_templates(documents).values():
        for container in containers(template):
            for variable in container.get("env", []):
                if re.search("KEY|SECRET|TOKEN|PASSWORD", variable["name"]) and "value" in variable:
                    # The place of a token's file tells nothing.
                    assert variable["name"].endswith("_PATH")


@pytest.mark.parametrize("place", APPLIED)
def test_images_have_the_one_name(place: str) -> None:
    named = [
        container["image"]
        for template in pod_templates(rendered(place)).values()
        for container in containers(template)
    ]
    for version in of_kind(rendered(place), "PipelineVersion"):
        executors = version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]
        named += [executor["container"]["image"] for executor in executors.values()]
    assert set(named) <= {RUNTIME, BENCHMARK}


@pytest.mark.parametrize("place", APPLIED)
def test_pods_are_restricted_and_have_no_rights(place: str) -> None:
    for name, template in pod_templates(rendered(place)).items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["serviceAccountName"] in ("pocketkube-worker", "pocketkube-uploader")
        security = pod["securityContext"]
        assert (security["runAsUser"], security["runAsGroup"]) == (1000, 1000)
        assert security["runAsNonRoot"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in containers(template):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]
        assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("place", APPLIED)
def test_istio_puts_no_proxy_beside_a_pod(place: str) -> None:
    for template in pod_templates(rendered(place)).values():
        assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"


@pytest.mark.parametrize("place", OVERLAYS)
def test_rights_are_those_of_jobs_alone(place: str) -> None:
    documents = rendered(place)
    assert not of_kind(documents, "ClusterRole")
    assert not of_kind(documents, "ClusterRoleBinding")
    for role in of_kind(documents, "Role"):
        for rule in role["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not words & {
                "*",
                "secrets",
                "serviceaccounts/token",
                "pods/exec",
                "escalate",
                "bind",
            }
    accounts = {each["metadata"]["name"] for each in of_kind(documents, "ServiceAccount")}
    for binding in of_kind(documents, "RoleBinding"):
        bound = {subject["name"] for subject in binding["subjects"]}
        assert bound <= accounts | OTHERS_ACCOUNTS.get(place, set())
        assert "pocketkube-worker" not in bound
        assert {subject["namespace"] for subject in binding["subjects"]} == {NAMESPACES[place]}


@pytest.mark.parametrize("place", OVERLAYS)
def test_the_runner_has_the_rights_that_doctor_asks_for(place: str) -> None:
    [role] = [
        each
        for each in of_kind(rendered(place), "Role")
        if each["metadata"]["name"] == "pocketkube-runner"
    ]
    granted = {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert granted == {(right.group, right.resource, verb) for right in RUNNER for verb in right.verbs}


@pytest.mark.parametrize("place", OVERLAYS)
def test_network_policies_let_each_pod_do_what_it_must(place: str) -> None:
    documents = rendered(place) + rendered("examples")
    policies = of_kind(documents, "NetworkPolicy")
    for name, template in pod_templates(documents).items():
        labels = dict(template["metadata"]["labels"])
        if " " in name:
            # mpi-operator adds them.
            labels["training.kubeflow.org/job-role"] = name.split()[1].lower()
        selecting = {
            policy["metadata"]["name"] for policy in policies if _selects(policy["spec"], labels)
        }
        expected = {"pocketkube-deny", "pocketkube-names-and-store"}
        if " " in name:
            expected.add("pocketkube-mpi")
        if name.startswith("pocketkube-upload"):
            expected.add("pocketkube-upload")
        assert selecting == expected


def _selects(spec: Document, labels: dict[str, str]) -> bool:
    selector = spec["podSelector"]
    return all(
        labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()
    ) and all(
        # Of a label that has only to be there, no values are named.
        each["key"] in labels and labels[each["key"]] in each.get("values", labels.values())
        for each in selector.get("matchExpressions", [])
    )


@pytest.mark.parametrize("place", OVERLAYS)
def test_what_pods_refer_to_is_there(place: str) -> None:
    documents = rendered(place) + rendered("examples")
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind(documents, "ConfigMap")}
    accounts = {each["metadata"]["name"] for each in of_kind(documents, "ServiceAccount")}
    for template in pod_templates(documents).values():
        assert template["spec"]["serviceAccountName"] in accounts
        for volume in template["spec"]["volumes"]:
            assert "configMap" not in volume or volume["configMap"]["name"] in maps
        for container in containers(template):
            for variable in container.get("env", []):
                wanted = variable.get("valueFrom", {}).get("configMapKeyRef")
                assert wanted is None or wanted["key"] in maps[wanted["name"]]


def test_the_examples_are_the_steps_of_their_spec() -> None:
    spec = load_spec(MANIFESTS / "examples" / "spec.yaml")
    outputs = {}
    for template in pod_templates(rendered("examples")).values():
        for container in containers(template):
            words = [*container["command"], *container.get("args", [])]
            if "stage" in words:
                step = step_named(spec, words[words.index("stage") + 1])
                given = dict(
                    word.removeprefix("--input=").split("=") for word in words if "--input" in word
                )
                assert {role: place.rsplit("/", 1)[1] for role, place in given.items()} == step.inputs
                output = next(word for word in words if word.startswith("--output="))
                outputs[step.key] = output.rsplit("/", 1)[1]
    assert set(outputs) == {
        "train_model",
        "1_prune_channels",
        "2_fine_tune",
        "baseline",
        "result",
        "benchmark",
    }
    assert all(key == place for key, place in outputs.items())


def test_a_profile_keeps_its_work_in_its_own_folder_of_the_store() -> None:
    [store] = [
        each
        for each in of_kind(rendered("overlays/kubeflow"), "ConfigMap")
        if each["metadata"]["name"] == "pocketkube-object-store"
    ]
    assert store["data"]["work"] == "s3://mlpipeline/private/kubeflow-user-example-com/pocketkube"


def test_generated_files_are_what_the_pipelines_are_now() -> None:
    found = generated()
    kept = {
        str(path.relative_to(MANIFESTS)): path.read_text()
        for folder in ("pipelines", "components/image", "katib", "trainer")
        for path in sorted((MANIFESTS / folder).rglob("*.yaml"))
    }
    assert kept.keys() == found.keys(), "run make manifests"
    for name, text in found.items():
        assert list(yaml.safe_load_all(kept[name])) == list(yaml.safe_load_all(text)), (
            f"{name} is old: run make manifests"
        )


def test_a_pipeline_version_is_what_is_uploaded() -> None:
    documents = rendered("pipelines")
    pipelines = of_kind(documents, "Pipeline")
    versions = {each["spec"]["pipelineName"]: each for each in of_kind(documents, "PipelineVersion")}
    assert len(pipelines) == len(versions)
    for pipeline in pipelines:
        name = pipeline["metadata"]["name"]
        # The API finds a pipeline by this name alone.
        assert pipeline["spec"]["displayName"] == name
        # It has to be there first.
        assert documents.index(pipeline) < documents.index(versions[name])
        assert re.fullmatch(rf"{name}-[0-9a-f]{{12}}", versions[name]["metadata"]["name"])
        package = list(
            yaml.safe_load_all((MANIFESTS / "pipelines/packages" / f"{name}.yaml").read_text())
        )
        spec = versions[name]["spec"]
        assert [spec["pipelineSpec"], spec["platformSpec"]] == package


def test_an_image_of_ones_own_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETKUBE_IMAGE", "registry.example.com:5000/team/pocketkube:1.2")
    monkeypatch.setenv("POCKETKUBE_BENCHMARK_IMAGE", f"registry/bench@sha256:{64 * 'a'}")
    found = yaml.safe_load(images())
    assert found["images"] == [
        {"name": "pocketkube", "newName": "registry.example.com:5000/team/pocketkube", "newTag": "1.2"},
        {"name": "pocketkube-benchmark", "newName": "registry/bench", "digest": f"sha256:{64 * 'a'}"},
    ]


def test_an_image_without_a_tag_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETKUBE_IMAGE", "registry.example.com:5000/pocketkube")
    with pytest.raises(UserError, match="has to be an image with its tag"):
        images()


def test_the_buckets_rule_removes_what_lies_below_the_work_place_and_nothing_else() -> None:
    (rule,) = json.loads((MANIFESTS / "object-store-lifecycle.json").read_text())["Rules"]
    (store,) = [
        each
        for each in of_kind(rendered("base"), "ConfigMap")
        if each["metadata"]["name"] == "pocketkube-object-store"
    ]
    work = parse_uri(store["data"]["work"])
    assert str(work) == USUAL_WORK
    assert rule["Filter"]["Prefix"] == work.object("")
    assert (rule["Status"], rule["Expiration"]) == ("Enabled", {"Days": 14})
