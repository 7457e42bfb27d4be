"""Tests against the cluster that KUBECONFIG names, each in a namespace of its own."""

import base64
import os
import secrets
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from kubernetes import client, config

from pocketkube.spec import parse_spec
from pocketkube.stages.inline import run_inline
from tests.cluster import commands
from tests.cluster.addons import BUCKET, STORE_NAMESPACE, STORE_SECRET, STORE_SERVICE
from tests.cluster.diagnosis import diagnosis
from tests.cluster.jobs import SPEC
from tests.cluster.missing import Missing, refuse_where_no_cluster_can_run


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster that answers."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("there is no cluster: run make test-cluster, or let KUBECONFIG name one")
    config.load_kube_config()
    client.VersionApi().get_code()


@pytest.fixture
def namespace(cluster: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that takes restricted pods only, with the keys of the S3 server."""
    name, core = f"pocketkube-{secrets.token_hex(4)}", client.CoreV1Api()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    try:
        keys = core.read_namespaced_secret(STORE_SECRET, STORE_NAMESPACE).data
        core.create_namespaced_secret(name, {"metadata": {"name": STORE_SECRET}, "data": keys})
        _wait_for_account(core, name)
        yield name
        if getattr(request.node, "failed_call", False):
            print(diagnosis(name))
    finally:
        core.delete_namespace(name)
        _wait_until_gone(core, name)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed_call = report.failed  # type: ignore[attr-defined]


@pytest.fixture
def store(cluster: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The S3 server, reached from here; URI of a folder in its bucket."""
    core = client.CoreV1Api()
    keys = core.read_namespaced_secret(STORE_SECRET, STORE_NAMESPACE).data
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or _endpoint()
    _skip_unless_reached(endpoint)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    for variable, key in (("AWS_ACCESS_KEY_ID", "accesskey"), ("AWS_SECRET_ACCESS_KEY", "secretkey")):
        monkeypatch.setenv(variable, base64.b64decode(keys[key]).decode())
    return f"s3://{BUCKET}/tests/{secrets.token_hex(4)}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a second cluster may be brought up; it goes with the test."""
    try:
        refuse_where_no_cluster_can_run()
    except Missing as missing:
        pytest.skip(str(missing))
    place = tmp_path / "second"
    yield place
    commands.run(place, "down")


@pytest.fixture(scope="session")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of a small job that was run on this machine."""
    return run_inline(parse_spec(SPEC), tmp_path_factory.mktemp("inline"))


def _endpoint() -> str:
    found = client.CoreV1Api().read_namespaced_service(STORE_SERVICE, STORE_NAMESPACE)
    slices = client.DiscoveryV1Api().list_namespaced_endpoint_slice(
        STORE_NAMESPACE, label_selector=f"kubernetes.io/service-name={found.metadata.name}"
    )
    address = slices.items[0].endpoints[0].addresses[0]
    return f"http://{address}:{slices.items[0].ports[0].port}"


def _skip_unless_reached(endpoint: str) -> None:
    place = urlsplit(endpoint)
    try:
        socket.create_connection((place.hostname, place.port), timeout=3).close()
    except OSError:
        pytest.skip(
            f"the cluster's S3 server is not reached from here at {endpoint}: forward a port to "
            f"{STORE_SERVICE}.{STORE_NAMESPACE} and let AWS_ENDPOINT_URL_S3 name it"
        )


def _wait_for_account(core: client.CoreV1Api, namespace: str) -> None:
    """A namespace takes no pod before its service account is there."""
    for _ in range(100):
        if core.list_namespaced_service_account(namespace).items:
            return
        time.sleep(0.1)


def _wait_until_gone(core: client.CoreV1Api, namespace: str) -> None:
    for _ in range(240):
        if namespace not in {found.metadata.name for found in core.list_namespace().items}:
            return
        time.sleep(0.5)
    raise AssertionError(f"the namespace {namespace} does not go")
