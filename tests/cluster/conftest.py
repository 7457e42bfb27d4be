"""Tests against the cluster that KUBECONFIG names, each in a namespace of its own."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from kubernetes import client, config
from urllib3.exceptions import HTTPError
from yaml import YAMLError

from pocketkube.errors import UserError
from pocketkube.kube import Session
from pocketkube.kube import connect as connect_to_cluster
from pocketkube.spec import parse_spec
from pocketkube.stages.whole_job import run_inline
from pocketkube.storage import S3Address, parse_uri
from pocketkube.storage.failures import plain_failures
from pocketkube.storage.server import Server, connect
from tests.cluster import backend as backends
from tests.cluster import commands
from tests.cluster.backend import Backend
from tests.cluster.cluster import is_named
from tests.cluster.diagnosis import diagnosis
from tests.cluster.jobs import IMAGE, SPEC
from tests.cluster.lone_api_server import LoneApiServer, lone_api_server
from tests.cluster.missing import Missing, refuse_where_no_cluster_can_run, refuse_without
from tests.cluster.store import (
    ACCESS_KEY,
    SECRET,
    SECRET_KEY,
    Store,
    endpoint_from_here,
    find_store,
    keys_of,
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("a Kubeflow Pipelines back end")
    group.addoption("--kfp-endpoint", metavar="URL", help="its address, as in http://10.77.0.2:8888")
    group.addoption("--kfp-namespace", default="kubeflow", help="where its pods run (%(default)s)")


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster that answers and has what the tests need; without it, none of them is run."""
    named = os.environ.get("KUBECONFIG")
    if not named:
        pytest.skip("there is no cluster: run make test-cluster, or let KUBECONFIG name one")
    try:
        config.load_kube_config(named)
        client.VersionApi().get_code(_request_timeout=5)
        _refuse_without_mpi_operator()
        keys_of(find_store())
    except (config.ConfigException, OSError, ValueError, YAMLError) as error:
        _end(f"KUBECONFIG={named} cannot be used: {error}")
    except HTTPError as error:
        _end(f"the cluster of KUBECONFIG={named} does not answer: {error}")
    except client.ApiException as error:
        _end(f"the cluster of KUBECONFIG={named} refuses: {_answer(error)}")


@pytest.fixture(scope="session")
def backend(cluster: None, pytestconfig: pytest.Config) -> Backend:
    """The Kubeflow Pipelines back end that the command line names."""
    endpoint = pytestconfig.getoption("--kfp-endpoint")
    if not endpoint:
        pytest.skip("no back end of Kubeflow Pipelines is named: say --kfp-endpoint URL")
    try:
        return backends.connect(endpoint, pytestconfig.getoption("--kfp-namespace"))
    # The client's errors have no common type.
    except Exception as error:
        _end(f"--kfp-endpoint {endpoint} does not answer: {error}")


def _refuse_without_mpi_operator() -> None:
    groups = client.ApisApi().get_api_versions().groups
    known = {version.group_version for group in groups for version in group.versions}
    if "kubeflow.org/v2beta1" not in known:
        _end("the cluster has no mpi-operator: kubeflow.org/v2beta1 is unknown to it")


def _end(line: str) -> NoReturn:
    pytest.exit(line.replace("\n", " "), returncode=2)


def _answer(error: client.ApiException) -> str:
    """What the API server said."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@pytest.fixture(scope="session")
def arch(cluster: None) -> str:
    """Architecture of the nodes that the runtime image is for: amd64, wherever there are such."""
    return min(node.status.node_info.architecture for node in client.CoreV1Api().list_node().items)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ready pipelines, compiled for the image that the cluster has."""
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run(
        [sys.executable, "-m", "pipelines", str(folder)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "POCKETKUBE_IMAGE": IMAGE},
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def namespace(cluster: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace that takes restricted pods only, with the keys of the S3 server."""
    name, core = f"pocketkube-{secrets.token_hex(4)}", client.CoreV1Api()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    core.create_namespace({"metadata": {"name": name, "labels": labels}})
    try:
        keys = dict(zip((ACCESS_KEY, SECRET_KEY), keys_of(find_store()), strict=True))
        core.create_namespaced_secret(name, {"metadata": {"name": SECRET}, "stringData": keys})
        _wait_for_account(core, name)
        yield name
        if getattr(request.node, "failed_call", False):
            print(diagnosis(name))
    finally:
        core.delete_namespace(name)
        _wait_for_last_pod(core, name)


@pytest.fixture
def session(namespace: str) -> Session:
    """The way to the test's own namespace."""
    return connect_to_cluster(namespace)


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneApiServer]:
    """An API server of the tests' own, without controllers and nodes."""
    try:
        refuse_without("etcd")
        with lone_api_server(tmp_path_factory.mktemp("lone")) as running:
            yield running
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def bare(lone: LoneApiServer, monkeypatch: pytest.MonkeyPatch) -> Session:
    """The way to a new namespace of an API server of the tests' own."""
    monkeypatch.setenv("KUBECONFIG", str(lone.kubeconfig))
    session = connect_to_cluster(f"pocketkube-{secrets.token_hex(4)}")
    client.CoreV1Api(session.server.client).create_namespace({"metadata": {"name": session.namespace}})
    return session


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if report.when == "call":
        item.failed_call = report.failed  # type: ignore[attr-defined]


@pytest.fixture
def store(cluster: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The S3 server, reached from here; URI of a folder in its bucket, which goes with the test."""
    found = find_store()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL_S3") or _endpoint(found))
    for variable, key in zip(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), keys_of(found), strict=True
    ):
        monkeypatch.setenv(variable, key)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    place = parse_uri(f"s3://{found.bucket}/tests/{secrets.token_hex(4)}")
    try:
        server = connect(place)
        with plain_failures(server.endpoint, place):
            assert not _objects(server, place)
    except UserError as error:
        _end(f"{error} AWS_ENDPOINT_URL_S3 may name a port that is forwarded to {found.host}.")
    yield str(place)
    for name in _objects(server, place):
        server.client.remove_object(place.bucket, name)


def _objects(server: Server, place: S3Address) -> list[str]:
    found = server.client.list_objects(place.bucket, prefix=place.object(""), recursive=True)
    return [str(each.object_name) for each in found]


def _endpoint(store: Store) -> str:
    return endpoint_from_here(store) or _end(
        f"the cluster's S3 server is not there: {store.host} has no endpoint"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a second cluster may be brought up; it goes with the test."""
    if os.environ.get("KUBECONFIG") and not is_named():
        pytest.skip("KUBECONFIG names a cluster that is not this checkout's")
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


def _wait_for_account(core: client.CoreV1Api, namespace: str) -> None:
    """A namespace takes no pod before its service account is there."""
    for _ in range(100):
        if core.list_namespaced_service_account(namespace).items:
            return
        time.sleep(0.1)


def _wait_for_last_pod(core: client.CoreV1Api, namespace: str) -> None:
    """Leaves the nodes to the next test; the namespace itself may go seconds later."""
    for _ in range(600):
        if not core.list_namespaced_pod(namespace).items:
            return
        time.sleep(0.2)
    raise AssertionError(f"pods of the namespace {namespace} do not go")
