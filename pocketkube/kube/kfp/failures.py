"""What went wrong with a KFP back end, in one line that says what to do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kfp_server_api.exceptions import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from pocketkube.errors import UserError
from pocketkube.kube.failures import PASSING_STATUSES

TOKEN_HINT = (
    "name a file with a token by --token-file or KF_PIPELINES_SA_TOKEN_PATH (inside a pod: a projected "
    "token of the audience pipelines.kubeflow.org)"
)

QUESTION = "is --endpoint right?"


class BackendAway(UserError):
    """The back end cannot be reached or fails by itself: the same request may succeed later."""


class BackendRefuses(UserError):
    """The back end said no.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@contextmanager
def plain_failures(endpoint: str, what: str) -> Iterator[None]:
    """Turns what KFP's client raises into one line.

    Args:
        endpoint: The back end, for messages.
        what: What was asked for, in a few words.

    Raises:
        BackendAway: If the same may succeed later.
        BackendRefuses: If it will not.
        UserError: If no secure connection comes about.
    """
    try:
        yield
    except ApiException as error:
        raise _answered(endpoint, what, error) from error
    except SSLError as error:
        raise _insecure(endpoint, error) from error
    except MaxRetryError as error:
        if isinstance(error.reason, SSLError):
            raise _insecure(endpoint, error.reason) from error
        raise _unreached(endpoint, what, error.reason or error) from error
    except (HTTPError, OSError) as error:
        raise _unreached(endpoint, what, error) from error


def no_api(endpoint: str) -> UserError:
    """The server answers, but not as KFP's API does."""
    return UserError(
        f"{endpoint} answers with a page, not as the API of Kubeflow Pipelines: either its address is "
        f"another (as in http://HOST:8888, or https://HOST/pipeline), or it asks for a login: "
        f"{TOKEN_HINT}."
    )


def _answered(endpoint: str, what: str, error: ApiException) -> UserError:
    if not error.status:
        return _insecure(endpoint, error)
    said = _said(error.body) or str(error.reason)
    if error.status in (401, 403):
        return BackendRefuses(
            f"{what}: {endpoint} refuses access ({said}); {TOKEN_HINT}.", error.status
        )
    # KFP answers 500 for much that it refuses for good; its sentence comes with it.
    if error.status in PASSING_STATUSES and not (error.status == 500 and _said(error.body)):
        return BackendAway(
            f"{what}: {endpoint} answers {error.status}: {said.rstrip('.')}; try again later."
        )
    return BackendRefuses(
        f"{what}: {endpoint} answers {error.status}: {said.rstrip('.')}.", error.status
    )


def _said(body: Any) -> str:
    """KFP's own sentence, if the answer is one."""
    try:
        document = json.loads(body)
        text = document.get("error_message") or document.get("message") or document.get("error") or ""
    except (TypeError, ValueError, AttributeError):
        return ""
    return str(text)[:400]


def _insecure(endpoint: str, error: Exception) -> UserError:
    reason = str(getattr(error, "reason", None) or error).rpartition("] ")[2][:200]
    return UserError(
        f"no secure connection to {endpoint} ({reason}); where its certificate is a private one, "
        "SSL_CERT_FILE names the file of those to trust."
    )


def _unreached(endpoint: str, what: str, error: Exception) -> UserError:
    reason = str(error).rpartition("): ")[2].rpartition("Error: ")[2].rstrip(".")[:200]
    return BackendAway(f"{what}: {endpoint} cannot be reached ({reason}); {QUESTION}")
