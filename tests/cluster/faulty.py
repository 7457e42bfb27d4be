"""A way to a real API server on which things go wrong, as on the networks and proxies between."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubernetes import client, config

from pocketkube.kube.session import Session
from pocketkube.kube.transport import ApiServer, Patience
from tests.storage.relay import Answer, Fault, relay

PATIENCE = Patience(answer_s=10, total_s=30)


@dataclass(frozen=True)
class _There:
    endpoint: str


@contextmanager
def faulty(
    kubeconfig: Path,
    namespace: str,
    fault: Fault = lambda method, path: None,
    patience: Patience = PATIENCE,
) -> Iterator[Session]:
    """A session by plain HTTP, whose requests are handed on with the kubeconfig's certificate.

    Args:
        kubeconfig: Names the cluster.
        namespace: The session's.
        fault: For a request's method and path, what goes wrong with it; it may wait, too.
        patience: The session's.
    """
    settings = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=settings)
    if not settings.cert_file:
        pytest.skip(f"{kubeconfig} has no client certificate, which the tests' proxy needs")
    context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
    context.load_cert_chain(settings.cert_file, settings.key_file)
    with relay(_There(settings.host), fault, context=context) as endpoint:
        plain = client.Configuration(host=endpoint)
        yield Session(ApiServer(endpoint, client.ApiClient(plain), patience), namespace)


def status(code: int, reason: str, said: str = "told by the test", **headers: str) -> Answer:
    """What an API server answers that says no."""
    body = f'{{"kind":"Status","apiVersion":"v1","code":{code},"reason":"{reason}","message":"{said}"}}'
    named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Answer(code, body.encode(), "application/json", named)
