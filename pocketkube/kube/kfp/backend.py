"""The way to a KFP back end, with the credentials that KFP's own client would use."""

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kfp
from kfp.client import KF_PIPELINES_SA_TOKEN_ENV, KF_PIPELINES_SA_TOKEN_PATH
from kfp.client import ServiceAccountTokenVolumeCredentials as TokenFile
from kfp.client.client import KF_PIPELINES_ENDPOINT_ENV as ENDPOINT
from kfp.client.client import KF_PIPELINES_UI_ENDPOINT_ENV as UI_ENDPOINT
from kfp_server_api import Configuration, V2beta1GetHealthzResponse

from pocketkube.errors import UserError, repeatable
from pocketkube.kube.kfp.failures import QUESTION, BackendAway, no_api, plain_failures
from pocketkube.kube.session import ACCOUNT

API, OLD_API = "/apis/v2beta1", "/apis/v1beta1"
CERTIFICATES = "SSL_CERT_FILE"
NAMESPACE_FILE = ACCOUNT / "namespace"
# To connect, and for the answer.
TIMEOUT_S = (10, 60)
_GIVE = "give --endpoint, as in http://localhost:8888"


@dataclass(frozen=True)
class Backend:
    """A KFP back end that answers.

    Attributes:
        endpoint: Its address, for messages.
        ui: The address that links to its pages begin with.
        namespace: Where runs belong, in multi-user mode; else empty.
        is_multi_user: Whether each user has a namespace.
        keeps_objects: Whether it takes its pipelines from Pipeline objects of Kubernetes, not from its
            database.
        release: The release that it says to be.
        client: KFP's client of its HTTP API.
    """

    endpoint: str
    ui: str
    namespace: str
    is_multi_user: bool
    keeps_objects: bool
    release: str
    client: Any = field(repr=False)

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        file: Path | None = None,
        root: str = API,
    ) -> dict[str, Any]:
        """Asks once, and returns the document that is answered.

        Args:
            what: What is asked for, in a few words, for messages.
            method: GET, POST or DELETE.
            path: Below the API's root.
            query: Parameters; empty ones are left out.
            body: A document to send.
            file: A file to send, instead.
            root: The API's root.

        Raises:
            BackendAway: If the same may succeed later.
            BackendRefuses: If it will not.
            UserError: If the answer is not from KFP's API.
        """
        response = self._response(what, method, root + path, query, body, file)
        try:
            document = self.client.deserialize(response, "object")
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise no_api(self.endpoint)
        return document

    def text(self, what: str, path: str, query: Mapping[str, str] | None = None) -> str:
        """The text at a path of the server.

        Raises:
            BackendAway: If the same may succeed later.
            BackendRefuses: If there is none.
        """
        response = self._response(what, "GET", path, query, None, None)
        return bytes(response.data).decode(errors="replace")

    def _response(
        self,
        what: str,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        file: Path | None,
    ) -> Any:
        sent = "multipart/form-data" if file else "application/json"
        with plain_failures(self.endpoint, what):
            return self.client.call_api(
                path,
                method,
                query_params=[(name, value) for name, value in (query or {}).items() if value],
                header_params={"Accept": "application/json", "Content-Type": sent},
                body=body,
                files={"uploadfile": str(file)} if file else {},
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=TIMEOUT_S,
            )


def connect(
    endpoint: str | None = None, namespace: str | None = None, token_file: Path | None = None
) -> Backend:
    """Reaches a back end.

    Credentials are those of KFP's client: a file with a token, which is read again for each request;
    its variables for Google's and other proxies; a cookie or a header in ~/.config/kfp/context.json.

    Args:
        endpoint: Its address; if None what KF_PIPELINES_ENDPOINT says. Without either it is the one of
            the cluster that this pod, or else the kubeconfig, belongs to.
        namespace: The user's, in multi-user mode; if None, that of KFP's context or of this pod.
        token_file: A file with a token; if None KF_PIPELINES_SA_TOKEN_PATH, or where pods have one.

    Raises:
        UserError: If the address is none, the file is not there, or the server cannot be reached,
            refuses the credentials or is something else.
    """
    address = endpoint or os.environ.get(ENDPOINT)
    if address is not None:
        _refuse_no_url(address)
    client = _client(address, namespace, token_file)
    api = client._healthz_api.api_client
    found = api.configuration.host.rstrip("/")
    backend = Backend(
        endpoint=found,
        ui=(os.environ.get(UI_ENDPOINT) or found).rstrip("/"),
        namespace="",
        is_multi_user=False,
        keeps_objects=False,
        release="",
        client=api,
    )
    try:
        health = backend.ask("healthz", "GET", "/healthz")
    except BackendAway as error:
        raise error if address else error.saying(str(error).replace(QUESTION, f"{_GIVE}.")) from error
    if not {"multi_user", "tag_name", "commit_sha"} & set(health):
        raise no_api(found)
    is_multi_user = bool(health.get("multi_user"))
    return Backend(
        endpoint=found,
        ui=backend.ui,
        namespace=_namespace(namespace or client.get_user_namespace()) if is_multi_user else "",
        is_multi_user=is_multi_user,
        keeps_objects=health.get("pipeline_store") == "kubernetes",
        release=str(health.get("tag_name") or "of an unknown release"),
        client=api,
    )


class _Client(kfp.Client):
    """KFP's client, which asks the server nothing, and writes no file, while it is made."""

    def get_kfp_healthz(self, sleep_duration: int = 5) -> V2beta1GetHealthzResponse:
        """Nothing: KFP's own tries five times and logs tracebacks."""
        return V2beta1GetHealthzResponse(multi_user=False)


def _client(address: str | None, namespace: str | None, token_file: Path | None) -> _Client:
    token = _token(token_file)
    certificates = os.environ.get(CERTIFICATES)
    logging.getLogger("kfp").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(StringIO() if address is None else sys.stdout):
        warnings.simplefilter("ignore", FutureWarning)
        try:
            client = _Client(
                host=address,
                namespace=namespace or "kubeflow",
                credentials=TokenFile(str(token)) if token else None,
                ssl_ca_cert=certificates,
            )
        except OSError as error:
            raise UserError(f"KFP's client cannot be made ready: {error}.") from None
    # Without a cluster KFP's client prints a line, and takes its library's default.
    if address is None and client._healthz_api.api_client.configuration.host == Configuration().host:
        raise UserError(
            f"no back end is named, and KUBECONFIG names no cluster that can be asked for it: {_GIVE}."
        )
    return client


def _token(token_file: Path | None) -> Path | None:
    """The file of the token, if there is one.

    Raises:
        UserError: If it is named, but cannot be read, or is empty.
    """
    named = os.environ.get(KF_PIPELINES_SA_TOKEN_ENV)
    default = Path(KF_PIPELINES_SA_TOKEN_PATH)
    found = token_file or (Path(named) if named else default if default.is_file() else None)
    if found is None:
        return None
    source = "--token-file" if token_file else KF_PIPELINES_SA_TOKEN_ENV
    try:
        is_empty = not found.read_text().strip()
    except (OSError, ValueError) as error:
        raise UserError(f"{source}: {found} cannot be read: {error}.") from None
    if is_empty:
        raise UserError(f"{source}: {found} is empty; it has to hold a token.")
    return found


def _namespace(named: str) -> str:
    if named:
        return named
    try:
        return NAMESPACE_FILE.read_text().strip()
    except OSError:
        raise UserError(
            "this back end has a namespace for each user: name yours by --namespace, as in "
            "--namespace kubeflow-user-example-com."
        ) from None


def _refuse_no_url(address: str) -> None:
    try:
        url = urlsplit(address)
        is_fine = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        is_fine = False
        url = urlsplit("")
    if url.username or url.password:
        raise UserError("--endpoint must hold no user or password; use a file with a token.")
    if not is_fine or url.query or url.fragment:
        raise UserError(
            f"--endpoint is {repeatable(address)}, but has to be http:// or https:// and a host, as in "
            "http://ml-pipeline.kubeflow:8888."
        )
