"""What is said where no cluster can be reached."""

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from pocketkube.errors import UserError
from pocketkube.kube import ApiServerAway, Refused, connect

STATUS = {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}


def kubeconfig(folder: Path, server: str, **context: str) -> Path:
    content = {
        "current-context": "there",
        "clusters": [{"name": "there", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {}}],
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me", **context}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes KUBECONFIG name a file of that content."""

    def name(server: str, **context: str) -> None:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server, **context)))

    return name


@pytest.fixture
def answering() -> Iterator[Any]:
    """Servers that answer everything alike."""
    running = []

    def serve(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *said: object) -> None:
                """Says nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=server.serve_forever)
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("content", [None, "", "clusters: [", "{}", "current-context: there"])
def test_a_kubeconfig_that_is_none(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "kubeconfig").write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with pytest.raises(UserError) as caught:
        connect()
    assert str(caught.value).startswith(
        f"no cluster: KUBECONFIG={tmp_path}/kubeconfig cannot be used ("
    )
    assert str(caught.value).endswith("; let KUBECONFIG name a cluster's file.")


def test_neither_a_kubeconfig_nor_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"no cluster: KUBECONFIG is not set, and ~/\.kube/config"):
        connect()


def test_nobody_answers(named: Any) -> None:
    named("http://127.0.0.1:9")
    began = time.monotonic()
    with pytest.raises(ApiServerAway) as caught:
        connect()
    assert time.monotonic() - began < 20
    assert "http://127.0.0.1:9 does not answer" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert str(caught.value).endswith("kubeconfig right, and the cluster up?")


def test_credentials_that_are_refused(named: Any, answering: Any) -> None:
    named(answering(401, json.dumps(STATUS).encode()))
    with pytest.raises(Refused, match="Unauthorized; the credentials are wrong or have expired"):
        connect()


def test_another_server_is_none_of_a_cluster(named: Any, answering: Any) -> None:
    url = answering(200, b"<html>It works!</html>")
    named(url)
    with pytest.raises(UserError, match=f"{url} does not answer as a Kubernetes API server does"):
        connect()


def test_the_namespace_is_the_arguments_then_the_contexts_then_default(
    named: Any, answering: Any
) -> None:
    url = answering(200, b'{"gitVersion": "v1.34.4"}')
    named(url, namespace="team")
    assert connect().namespace == "team"
    assert connect("mine").namespace == "mine"
    assert connect("mine").within("other").namespace == "other"
    named(url)
    assert connect().namespace == "default"
