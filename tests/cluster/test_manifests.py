"""manifests/ on a cluster: it takes them as strictly as it can, and they do what they are for.

Its network plug-in, a bridge, enforces no NetworkPolicy: only that they are valid is shown of them.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes import client, watch

from pocketkube import __version__
from pocketkube.bundle import load_bundle
from pocketkube.files.layout import BENCHMARK_FILE
from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer
from pocketkube.launch.mpijob import MpiJob
from pocketkube.launch.node_pool import NodePool
from pocketkube.launch.outcome import Cause
from pocketkube.spec import parse_spec
from pocketkube.spec.sections import Cluster
from pocketkube.storage import fetch_folder, parse_uri
from tests.cluster.accounts import api_as
from tests.cluster.backend import Backend
from tests.cluster.following import wait_for_job, wait_for_mpijob
from tests.cluster.installing import BENCHMARK, RUNTIME, install
from tests.cluster.jobs import IMAGE, SPEC
from tests.cluster.kubectl import kubectl
from tests.cluster.store import SECRET, find_store
from tests.kube.schemas import close, refuse_invalid
from tests.manifests.rendering import APPLIED, MANIFESTS, rendered
from tests.steps import call_of

NOWHERE = "s3://mlpipeline/none"
# Whose rights an overlay gives: ours, and the account that Kubeflow runs pipelines as.
RUNNERS = {
    "base": ("pocketkube-runner",),
    "overlays/standalone": ("pocketkube-runner", "pipeline-runner"),
    "overlays/kubeflow": ("pocketkube-runner", "default-editor"),
}
MPIJOBS = ("kubeflow.org", "v2beta1", "mpijobs")
TRAINJOBS = ("trainer.kubeflow.org", "v1alpha1", "trainjobs")
PIPELINES = "pipelines.kubeflow.org"


@pytest.fixture
def images(arch: str) -> dict[str, str]:
    """What the cluster's nodes call our images."""
    return {RUNTIME: IMAGE, BENCHMARK: f"pocketkube-benchmark:{__version__}-{arch}"}


@pytest.fixture
def kubeconfig(cluster: None) -> Path:
    return Path(os.environ["KUBECONFIG"])


@pytest.fixture
def pipeline_kinds(kubeconfig: Path) -> Iterator[None]:
    """A cluster that knows Pipeline objects, of itself or for as long as the test."""
    known = kubectl(kubeconfig, "get", "crds", "-oname")
    if f"pipelines.{PIPELINES}" in known:
        yield
        return
    folder = os.environ.get("CRD_SCHEMAS")
    if not folder:
        pytest.skip("the cluster knows no Pipeline objects, and CRD_SCHEMAS names no folder with them")
    files = [f"-f={path}" for path in sorted(Path(folder).glob("kfp.*.crd.yaml"))]
    kubectl(kubeconfig, "apply", "--server-side", *files)
    kubectl(kubeconfig, "wait", "--for=condition=Established", *files)
    yield
    kubectl(kubeconfig, "delete", *files)


@cache
def described_by_server(version: str) -> dict[str, Any]:
    """The schemas of an API, as the cluster's server publishes them, but closed."""
    path = f"api/{version}" if "/" not in version else f"apis/{version}"
    answer = kubectl(Path(os.environ["KUBECONFIG"]), "get", "--raw", f"/openapi/v3/{path}")
    found: dict[str, Any] = json.loads(answer)["components"]
    close(found)
    return found


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("place", [place for place in APPLIED if place != "pipelines"])
def test_every_object_is_as_the_api_server_describes_it(place: str) -> None:
    for each in rendered(place):
        group, _, version = each["apiVersion"].rpartition("/")
        wanted = {"group": group, "version": version, "kind": each["kind"]}
        components = described_by_server(each["apiVersion"])
        [name] = [
            name
            for name, schema in components["schemas"].items()
            if wanted in schema.get("x-kubernetes-group-version-kind", [])
        ]
        schema = {"$ref": f"#/components/schemas/{name}", "components": components}
        refuse_invalid(each, Draft202012Validator(schema))


@pytest.mark.parametrize("place", RUNNERS)
def test_what_is_applied_is_what_is_there_and_accounts_have_no_right_too_many(
    place: str, namespace: str, arch: str, images: dict[str, str], kubeconfig: Path, tmp_path: Path
) -> None:
    for account in RUNNERS[place][1:]:
        client.CoreV1Api().create_namespaced_service_account(namespace, {"metadata": {"name": account}})
    install(place, tmp_path, namespace, NOWHERE, images)
    # It fails where anything differs.
    kubectl(kubeconfig, "diff", "--server-side", "-k", str(tmp_path))
    for account in RUNNERS[place]:
        api = api_as(account, namespace)
        _starts_and_follows_a_job(api, namespace, f"by-{account}", images[BENCHMARK], arch)
        _keeps_jobs(api, namespace, MPIJOBS)
        _may_keep_jobs(api, namespace, TRAINJOBS)
        for refused in (*_beyond_jobs(api, namespace), *_jobs_of(api, "kubeflow")):
            _is_refused(refused)
    for account in ("pocketkube-worker", "pocketkube-uploader"):
        api = api_as(account, namespace)
        for refused in (*_beyond_jobs(api, namespace), *_jobs_of(api, namespace)):
            _is_refused(refused)


def test_what_starts_jobs_does_all_it_does_with_the_runners_rights(
    namespace: str, arch: str, store: str, images: dict[str, str], tmp_path: Path
) -> None:
    install("base", tmp_path, namespace, store, images)
    api = api_as("pocketkube-runner", namespace)
    session = Session(ApiServer(api.configuration.host, api), namespace)
    # Created, followed, found to be stuck, explained by events and removed, without a second of work.
    absent = {"pending_seconds": 5, "node_selector": {"kubernetes.io/arch": arch}}
    cluster = Cluster.model_validate(
        {
            "launcher": "mpijob",
            "image": "pocketkube:absent",
            "benchmark_image": "pocketkube-benchmark:absent",
            "object_store": {"endpoint": find_store().endpoint, "work": f"{store}/work"},
            "workers": absent,
            "benchmark": {**absent, "cpu": "1", "memory": "256Mi"},
        }
    )
    spec = parse_spec({**SPEC, "training": {"workers": 2}})
    training = call_of(spec, "train_model", {}, f"{store}/trained")
    outcome = MpiJob(cluster, "train", 2, session).start(training).outcome
    assert outcome.cause is Cause.NO_IMAGE, outcome
    places = {role: f"{store}/{role}" for role in ("baseline", "result")}
    measuring = call_of(spec, "benchmark", places, f"{store}/measured")
    outcome = NodePool(session, cluster, "measure", 1).start(measuring).outcome
    # On a busy cluster it may wait for a node instead.
    assert outcome.cause in (Cause.NO_IMAGE, Cause.NO_NODE), outcome
    _until(lambda: not _mpijobs(namespace) and not _jobs(namespace))


def test_kubeflow_lets_the_uploader_upload_and_schedule_and_nothing_more(
    namespace: str, images: dict[str, str], tmp_path: Path
) -> None:
    install("overlays/kubeflow", tmp_path, namespace, NOWHERE, images)
    expected = {
        "pipelines": {"create", "get", "list"},
        "experiments": {"create", "get", "list"},
        "jobs": {"create", "get", "list", "delete"},
        "runs": set(),
    }
    verbs = ("create", "get", "list", "update", "delete", "archive", "terminate")
    for resource, granted in expected.items():
        for verb in verbs:
            # As ml-pipeline asks, of which the cluster need not have one.
            allowed = _may(namespace, "pocketkube-uploader", PIPELINES, resource, verb)
            assert allowed is (verb in granted), f"{verb} {resource}"
    assert not _may("kubeflow", "pocketkube-uploader", PIPELINES, "pipelines", "create", namespace)


def test_the_base_takes_restricted_pods_alone_and_says_what_others_ask_for(
    namespace: str, arch: str, images: dict[str, str], tmp_path: Path
) -> None:
    install("base", tmp_path, namespace, NOWHERE, images)
    core = client.CoreV1Api()
    labels = core.read_namespace(namespace).metadata.labels
    assert {labels[f"pod-security.kubernetes.io/{mode}"] for mode in ("enforce", "audit", "warn")} == {
        "restricted"
    }
    pod = {"metadata": {"name": "any"}, "spec": _restricted_pod(images[BENCHMARK], arch)}
    made = core.create_namespaced_pod(namespace, pod, dry_run="All")
    assert made.spec.containers[0].resources.requests == {"cpu": "500m", "memory": "1Gi"}
    assert made.spec.containers[0].resources.limits is None
    pod["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(client.ApiException, match='violates PodSecurity \\\\"restricted'):
        core.create_namespaced_pod(namespace, pod, dry_run="All")


def test_the_demo_trains_compresses_and_measures_on_one_node(
    namespace: str,
    store: str,
    images: dict[str, str],
    arch: str,
    steps: dict[str, Path],
    tmp_path: Path,
) -> None:
    install("overlays/demo", tmp_path, namespace, store, images)
    worker = _worker_that_trains(namespace)
    eviction = {"metadata": {"name": worker, "namespace": namespace}}
    with pytest.raises(client.ApiException, match="disruption budget"):
        client.CoreV1Api().create_namespaced_pod_eviction(worker, namespace, eviction)
    large = {"metadata": {"name": "large"}, "spec": _restricted_pod(images[BENCHMARK], arch)}
    large["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100"}}
    with pytest.raises(client.ApiException, match="exceeded quota"):
        client.CoreV1Api().create_namespaced_pod(namespace, large)
    wait_for_mpijob(namespace, "pocketkube-train", seconds=300)
    for job in ("pocketkube-compress", "pocketkube-benchmark"):
        client.BatchV1Api().patch_namespaced_job(job, namespace, {"spec": {"suspend": False}})
        wait_for_job(namespace, job, seconds=900)
    for step in ("train_model", "2_fine_tune", "benchmark"):
        fetch_folder(parse_uri(f"{store}/examples/{step}"), tmp_path / step)
    trained, here = load_bundle(tmp_path / "train_model"), load_bundle(steps["train_model"])
    # Two that never met would each have trained all of it.
    assert trained.facts.stages[0].history.workers == 2
    for ours, theirs in zip(trained.model.get_weights(), here.model.get_weights(), strict=True):
        # As between one process and two on one machine: sums are added in another order.
        np.testing.assert_allclose(ours, theirs, atol=2e-3)
    compressed = load_bundle(tmp_path / "2_fine_tune")
    assert compressed.model.count_params() < trained.model.count_params()
    measured = json.loads((tmp_path / "benchmark" / BENCHMARK_FILE).read_text())
    assert [file["score"] > 0.5 for file in measured["files"]] == [True, True]
    assert measured["files"][1]["size_bytes"] < measured["files"][0]["size_bytes"]


def test_pipelines_are_taken_as_objects(
    namespace: str, kubeconfig: Path, pipeline_kinds: None, tmp_path: Path
) -> None:
    words = ("apply", "--server-side", "--validate=strict", "--warnings-as-errors")
    place = ("-n", namespace, "-k", str(MANIFESTS / "pipelines"))
    kubectl(kubeconfig, *words, *place)
    kubectl(kubeconfig, "diff", "--server-side", *place)
    for each in rendered("pipelines"):
        plural = f"{each['kind'].lower()}s"
        found: Any = client.CustomObjectsApi().get_namespaced_custom_object(
            PIPELINES, "v2beta1", namespace, plural, each["metadata"]["name"]
        )
        assert found["spec"] == each["spec"]


@pytest.mark.parametrize("place", ["overlays/standalone", "overlays/kubeflow"])
def test_the_job_uploads_pipelines_and_keeps_recurring_runs_however_often_it_runs(
    place: str, namespace: str, images: dict[str, str], backend: Backend, tmp_path: Path
) -> None:
    name = f"run-of-{namespace}"
    schedule = {"name": name, "pipeline": "compress-model", "cron": "0 0 3 * * 1", "enabled": False}
    [version] = [
        each["metadata"]["name"]
        for each in rendered("pipelines")
        if each["kind"] == "PipelineVersion" and each["spec"]["pipelineName"] == "compress-model"
    ]

    def applied(**changes: Any) -> str:
        """Has the Job run once more; the id of the recurring run."""
        schedules = yaml.safe_dump({"schedules": [{**schedule, **changes}]})
        install(place, tmp_path, namespace, NOWHERE, images, schedules)
        wait_for_job(namespace, "pocketkube-upload", seconds=300)
        client.BatchV1Api().delete_namespaced_job(
            "pocketkube-upload", namespace, propagation_policy="Foreground"
        )
        _until(lambda: "pocketkube-upload" not in _jobs(namespace))
        found = backend.client.list_recurring_runs(page_size=100).recurring_runs or []
        [run] = [each for each in found if each.display_name == name]
        return str(run.recurring_run_id)

    try:
        first = applied()
        assert applied() == first
        changed = applied(cron="0 0 4 * * 1")
        assert changed != first
        kept = backend.client.get_recurring_run(changed)
        assert kept.trigger.cron_schedule.cron == "0 0 4 * * 1"
        pipeline = backend.client.get_pipeline_id("compress-model")
        versions = backend.client.list_pipeline_versions(pipeline, page_size=100).pipeline_versions
        assert [each.display_name for each in versions].count(version) == 1
    finally:
        for each in backend.client.list_recurring_runs(page_size=100).recurring_runs or []:
            if each.display_name == name:
                backend.client.delete_recurring_run(each.recurring_run_id)


def _until(found: Callable[[], object]) -> None:
    for _ in range(240):
        if found():
            return
        time.sleep(0.5)
    raise AssertionError("what was waited for did not come in two minutes")


def _jobs(namespace: str) -> list[str]:
    jobs = client.BatchV1Api().list_namespaced_job(namespace).items
    return [job.metadata.name for job in jobs]


def _mpijobs(namespace: str) -> list[Any]:
    group, version, plural = MPIJOBS
    found: Any = client.CustomObjectsApi().list_namespaced_custom_object(
        group, version, namespace, plural
    )
    return found["items"]


def _starts_and_follows_a_job(
    api: client.ApiClient, namespace: str, name: str, image: str, arch: str
) -> None:
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    batch.create_namespaced_job(namespace, _job(name, image, arch))
    selector = f"job-name={name}"
    states = watch.Watch().stream(
        core.list_namespaced_pod, namespace, label_selector=selector, timeout_seconds=120
    )
    assert any(event["object"].status.phase == "Succeeded" for event in states)
    [pod] = core.list_namespaced_pod(namespace, label_selector=selector).items
    assert core.read_namespaced_pod(pod.metadata.name, namespace).status.phase == "Succeeded"
    assert core.read_namespaced_pod_log(pod.metadata.name, namespace) == "here\n"
    events = core.list_namespaced_event(namespace).items
    assert pod.metadata.name in {event.involved_object.name for event in events}
    assert batch.read_namespaced_job(name, namespace).metadata.name == name
    batch.delete_namespaced_job(name, namespace, propagation_policy="Background")


def _keeps_jobs(api: client.ApiClient, namespace: str, kind: tuple[str, str, str]) -> None:
    """Creates, reads and deletes an MPIJob, which is suspended and so starts nothing."""
    custom, name = client.CustomObjectsApi(api), "suspended"
    group, version, plural = kind
    [job] = [each for each in rendered("examples") if each["kind"] == "MPIJob"]
    job = job | {"metadata": {"name": name}}
    job["spec"] = job["spec"] | {"runPolicy": {"suspend": True}}
    place = (group, version, namespace, plural)
    custom.create_namespaced_custom_object(*place, job)
    assert custom.get_namespaced_custom_object(*place, name)["metadata"]["name"] == name
    custom.delete_namespaced_custom_object(*place, name)


def _may_keep_jobs(api: client.ApiClient, namespace: str, kind: tuple[str, str, str]) -> None:
    """The cluster need not know the kind: what is allowed is not found, the rest is forbidden."""
    custom = client.CustomObjectsApi(api)
    place = (*kind[:2], namespace, kind[2])
    for call in (
        lambda: custom.get_namespaced_custom_object(*place, "none"),
        lambda: custom.delete_namespaced_custom_object(*place, "none"),
        lambda: custom.create_namespaced_custom_object(*place, {}),
    ):
        assert _status_of(call) != 403
    _is_refused(lambda: custom.patch_namespaced_custom_object(*place, "none", {}))


def _jobs_of(api: client.ApiClient, namespace: str) -> list[Callable[[], Any]]:
    batch, core, custom = client.BatchV1Api(api), client.CoreV1Api(api), client.CustomObjectsApi(api)
    place = (*MPIJOBS[:2], namespace, MPIJOBS[2])
    return [
        lambda: batch.list_namespaced_job(namespace),
        lambda: batch.create_namespaced_job(namespace, _job("any", "any", "any")),
        lambda: batch.delete_namespaced_job("any", namespace),
        lambda: custom.list_namespaced_custom_object(*place),
        lambda: custom.create_namespaced_custom_object(*place, {}),
        lambda: custom.delete_namespaced_custom_object(*place, "any"),
        lambda: core.list_namespaced_pod(namespace),
        lambda: core.read_namespaced_pod_log("any", namespace),
        lambda: core.list_namespaced_event(namespace),
    ]


def _beyond_jobs(api: client.ApiClient, namespace: str) -> list[Callable[[], Any]]:
    batch, core = client.BatchV1Api(api), client.CoreV1Api(api)
    pod = {"metadata": {"name": "any"}, "spec": _restricted_pod("any", "any")}
    role = {"metadata": {"name": "any"}, "rules": []}
    return [
        lambda: core.read_namespaced_secret(SECRET, namespace),
        lambda: core.list_namespaced_secret(namespace),
        lambda: core.list_namespaced_config_map(namespace),
        lambda: core.create_namespaced_config_map(namespace, {"metadata": {"name": "any"}}),
        lambda: core.create_namespaced_pod(namespace, pod),
        lambda: core.delete_namespaced_pod("any", namespace),
        lambda: core.create_namespaced_service_account_token("default", namespace, {"spec": {}}),
        lambda: client.RbacAuthorizationV1Api(api).create_namespaced_role(namespace, role),
        lambda: batch.patch_namespaced_job("any", namespace, {}),
        lambda: batch.list_namespaced_job(namespace),
        lambda: core.list_node(),
        lambda: core.list_namespace(),
        lambda: core.list_pod_for_all_namespaces(),
    ]


def _is_refused(call: Callable[[], Any]) -> None:
    assert _status_of(call) == 403


def _status_of(call: Callable[[], Any]) -> int:
    try:
        call()
    except client.ApiException as error:
        return int(error.status)
    return 200


def _may(
    namespace: str, account: str, group: str, resource: str, verb: str, of: str | None = None
) -> bool:
    attributes = {"namespace": namespace, "group": group, "resource": resource, "verb": verb}
    user = f"system:serviceaccount:{of or namespace}:{account}"
    asked = {"spec": {"user": user, "resourceAttributes": attributes}}
    answer = client.AuthorizationV1Api().create_subject_access_review(asked)
    return bool(answer.status.allowed)


def _job(name: str, image: str, arch: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": _restricted_pod(image, arch)}},
    }


def _restricted_pod(image: str, arch: str) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "nodeSelector": {"kubernetes.io/arch": arch},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "any",
                "image": image,
                "command": ["python", "-c", "print('here')"],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _worker_that_trains(namespace: str) -> str:
    """Waits until both workers are counted as healthy; the name of one."""

    def healthy() -> bool:
        budget = client.PolicyV1Api().read_namespaced_pod_disruption_budget(
            "pocketkube-train", namespace
        )
        return bool(budget.status and budget.status.current_healthy == 2)

    _until(healthy)
    return "pocketkube-train-worker-0"
