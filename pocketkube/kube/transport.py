"""Requests to an API server: one at a time, again where it is away, and answers that stream."""

import json
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlencode

import urllib3
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
)
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError, SSLError

from pocketkube.errors import UserError
from pocketkube.kube.failures import ApiServerAway, refusal

Document = dict[str, Any]
Result = TypeVar("Result")

# A server may ask for hours.
LONGEST_PAUSE_S = 60.0
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Patience:
    """How long an API server is waited for.

    Attributes:
        answer_s: For one answer.
        total_s: For a request to succeed, all tries together: as long as an API server's machine may
            take to come back.
    """

    answer_s: float = 30
    total_s: float = 600


@dataclass(frozen=True)
class ApiServer:
    """An API server, and what speaks to it.

    Attributes:
        url: Where it is.
        client: The `kubernetes` package's ApiClient: its connections and credentials.
        patience: How long it is waited for.
    """

    url: str
    client: Any = field(repr=False)
    patience: Patience = field(default=Patience(), compare=False)


@dataclass(frozen=True)
class Request:
    """What is asked of an API server.

    Attributes:
        what: In a few words, for messages: "Job train in namespace team".
        method: GET, POST, PUT, PATCH or DELETE.
        path: Below the server's URL.
        query: Parameters.
        body: A document, if one is sent.
        content_type: What the document is.
    """

    what: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: Document | None = None
    content_type: str = "application/json"


def ask(server: ApiServer, request: Request) -> Document:
    """Asks, and asks again where the server is away: only what may be done twice.

    Raises:
        ApiServerAway: If the server stays away.
        Refused: If it says no.
        UserError: If no secure connection comes about.
    """
    return patiently(server, lambda: ask_once(server, request))


def patiently(server: ApiServer, work: Callable[[], Result]) -> Result:
    """Does `work` again where the server is away, as its patience has it; says so on standard error.

    Raises:
        ApiServerAway: If the server stays away.
        UserError: If `work` refuses, at once.
    """

    def say(state: RetryCallState) -> None:
        assert state.outcome is not None
        assert state.next_action is not None
        pause, reason = state.next_action.sleep, state.outcome.exception()
        print(
            f'api_server={server.url} again_in={pause:.1f}s reason="{reason}"',
            file=sys.stderr,
            flush=True,
        )

    return Retrying(
        retry=retry_if_exception_type(ApiServerAway),
        wait=_pause_s,
        stop=stop_before_delay(server.patience.total_s),
        before_sleep=say,
        reraise=True,
    )(work)


def pause_s_after(failures: int, last: ApiServerAway) -> float:
    """How long to wait after so many failures on end: ever longer, and as long as the server asks."""
    grown = min(15.0, 0.25 * 2 ** min(failures, 10)) * random.uniform(0.5, 1)
    return max(grown, min(last.retry_after_s or 0, LONGEST_PAUSE_S))


def ask_once(server: ApiServer, request: Request) -> Document:
    """Asks once.

    Raises:
        ApiServerAway: If it may succeed later.
        Refused: If the server says no.
        UserError: If no secure connection comes about.
    """
    with (
        _plain_failures(server, request),
        _response(server, request, server.patience.answer_s) as response,
    ):
        text = response.data
    document = _parsed(text)
    if not isinstance(document, dict):
        raise UserError(f"{server.url} does not answer as a Kubernetes API server does.")
    return document


def lines(server: ApiServer, request: Request, silence_s: float) -> Iterator[bytes]:
    """An answer that comes line by line, for as long as its sender likes; it is asked for once.

    Args:
        server: The API server.
        request: What is asked.
        silence_s: After so long without a byte the connection counts as broken.

    Yields:
        The lines with their ends, and what comes after the last end if the answer is whole.

    Raises:
        ApiServerAway: If the connection breaks; half a line is lost then.
        Refused: If the server says no.
    """
    rest = b""
    with _plain_failures(server, request), _response(server, request, silence_s) as response:
        for block in _blocks(response):
            *whole, rest = (rest + block).split(b"\n")
            yield from (line + b"\n" for line in whole)
        if rest:
            yield rest


def _blocks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    # As they come, where the answer has no length of its own: a watch's event must not wait for others.
    if getattr(response, "chunked", False):
        yield from response.stream(_BLOCK)
    else:
        while block := response.read1(_BLOCK):
            yield block


@contextmanager
def _response(
    server: ApiServer, request: Request, silence_s: float
) -> Iterator[urllib3.BaseHTTPResponse]:
    headers = {"Accept": "application/json, */*"}
    # Client 36 looks for the token under another name than its configuration stores it by.
    if token := server.client.configuration.get_api_key_with_prefix("authorization"):
        headers["Authorization"] = token
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    response = server.client.rest_client.pool_manager.request(
        request.method,
        server.url.rstrip("/")
        + request.path
        + ("?" + urlencode(request.query) if request.query else ""),
        headers=headers,
        body=None if request.body is None else json.dumps(request.body).encode(),
        timeout=urllib3.Timeout(connect=10, read=silence_s),
        retries=False,
        redirect=False,
        preload_content=False,
    )
    try:
        if response.status >= 300:
            answer, retry_after = _parsed(response.data), response.headers.get("Retry-After")
            raise refusal(request.what, response.status, answer, retry_after)
        yield response
    finally:
        # Back to the pool if it was read to its end, else it is of no use to another request.
        response.close() if not response.isclosed() else response.release_conn()


@contextmanager
def _plain_failures(server: ApiServer, request: Request) -> Iterator[None]:
    try:
        yield
    except SSLError as error:
        if "certificate" not in str(error).lower():
            raise _broken(server, request, error) from error
        raise UserError(
            f"no secure connection to {server.url} ({_reason(error)}); look at the kubeconfig's "
            "certificate-authority."
        ) from error
    except (HTTPError, OSError) as error:
        raise _broken(server, request, error) from error


def _parsed(data: bytes) -> Any:
    text = data.decode(errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _broken(server: ApiServer, request: Request, error: Exception) -> ApiServerAway:
    return ApiServerAway(
        f"{request.what}: the API server {server.url} does not answer ({_reason(error)})."
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ReadTimeoutError):
        return "nothing came in time"
    said = error.args[-1] if isinstance(error, ProtocolError) else error
    return str(said).rpartition("): ")[2].rstrip(".")[:200]


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ApiServerAway)
    return pause_s_after(state.attempt_number, error)
