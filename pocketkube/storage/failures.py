"""What went wrong at the server, in one line that says what to do."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import responses
from xml.etree.ElementTree import ParseError

from minio.error import MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError, ProtocolError, SSLError

from pocketkube.errors import UserError
from pocketkube.storage.address import S3Address
from pocketkube.storage.server_settings import (
    ACCESS_KEY,
    CERTIFICATES,
    ENDPOINTS,
    REGIONS,
    SECRET_KEY,
    TOKEN,
    is_anonymous,
    secret_name,
)

# With these the same request may succeed later.
PASSING_STATUSES = (408, 429, 500, 502, 503, 504)
# The second is what is left of an upload that the server ended, and whose answer was lost.
PASSING_CODES = ("RequestTimeout", "NoSuchUpload")

BAD_TOKENS = ("InvalidToken", "ExpiredToken")
# Beside the statuses 401 and 403. versitygw says XAdminUserNotFound, with 404, of a key that it lacks.
REFUSALS = (*BAD_TOKENS, "XAdminUserNotFound")


class ServerAway(UserError):
    """The server cannot be reached or fails by itself: the same request may succeed later."""


class ErrorPage(Exception):
    """An answer that says no, in other words than an S3 server's.

    Attributes:
        status: Its HTTP status.
    """

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


@contextmanager
def plain_failures(endpoint: str, address: S3Address) -> Iterator[None]:
    """Turns what the client raises into one line that names the address and the server.

    Raises:
        ServerAway: If the same may succeed later.
        UserError: If it will not.
    """
    try:
        yield
    except S3Error as error:
        raise _refused(error, endpoint, address) from error
    except ErrorPage as page:
        raise _answered(page.status, endpoint, address) from page
    # The client's ValueError: XML that lacks what it should have, or a request that cannot be made.
    except (MinioException, ParseError, ValueError) as error:
        raise _another_server(_shortened(error), endpoint, address) from error
    except HTTPError as error:
        raise ServerAway(
            f"{address}: the connection to {endpoint} broke off ({_reason(error)})."
        ) from error


def unreached(error: HTTPError, endpoint: str, address: S3Address) -> UserError:
    """The failure of the very first request."""
    if isinstance(error, MaxRetryError) and isinstance(error.reason, SSLError):
        if "WRONG_VERSION_NUMBER" in str(error.reason):
            return other_scheme(endpoint, address)
        return UserError(
            f"{address}: no secure connection to {endpoint} ({_reason(error)}); where its certificate "
            f"is a private one, {CERTIFICATES} names the file of those to trust."
        )
    # Some servers hang up on a client that does not speak TLS.
    hung_up = isinstance(error, MaxRetryError) and isinstance(error.reason, ProtocolError)
    scheme = ", or the server one of https://" if hung_up and endpoint.startswith("http:") else ""
    return ServerAway(
        f"{address}: {endpoint} cannot be reached ({_reason(error)}); is {ENDPOINTS[0]} right{scheme}?"
    )


def other_scheme(endpoint: str, address: S3Address) -> UserError:
    """The failure of a request by TLS to a server without, or the other way round."""
    scheme, _, host = endpoint.partition("://")
    is_secure = scheme == "https"
    return UserError(
        f"{address}: what answers at {endpoint} speaks {'without' if is_secure else 'by'} TLS; set "
        f"{ENDPOINTS[0]} to {'http' if is_secure else 'https'}://{host}."
    )


def is_missing(error: S3Error) -> bool:
    """Whether an object was asked for that is not there."""
    return error.code == "NoSuchKey"


def _refused(error: S3Error, endpoint: str, address: S3Address) -> UserError:
    status = error.response.status
    told = f"{error.code}: {_shortened(error.message or 'nothing more')}"
    if status in PASSING_STATUSES or error.code in PASSING_CODES:
        return _failing(f"{_phrase(status)} ({told})", endpoint, address)
    if error.code == "NoSuchBucket":
        return UserError(
            f"{address}: there is no bucket {address.bucket} at {endpoint}; make it, or name another."
        )
    if error.code not in REFUSALS and status not in (401, 403):
        # Of a wrong region servers often say no more than that the request is bad.
        region = next((name for name in REGIONS if os.environ.get(name)), None)
        hint = f"; is {region} the region of the bucket?" if status == 400 and region else "."
        return UserError(f"{address}: {endpoint} answers {told}{hint}")
    secret = secret_name()
    if is_anonymous() and secret:
        hint = f"the pod's namespace needs the Secret {secret}, with accesskey and secretkey"
    elif is_anonymous():
        hint = f"it was asked without keys, as anybody may: set {ACCESS_KEY} and {SECRET_KEY}"
    elif error.code in BAD_TOKENS:
        hint = f"{TOKEN} has expired or belongs to other keys: get new ones"
    else:
        own = f"{ACCESS_KEY}, {SECRET_KEY}"
        keys = f"the Secret {secret}, in the pod's namespace," if secret else own
        hint = f"look at {keys} and what they may do in {address.bucket}"
        if "location=" in (error.response.geturl() or ""):
            hint += f"; where they may not ask for the bucket's region, set {REGIONS[0]}"
    return UserError(f"{address}: {endpoint} refuses access ({told}); {hint}.")


def _answered(status: int, endpoint: str, address: S3Address) -> UserError:
    if status in PASSING_STATUSES:
        return _failing(_phrase(status), endpoint, address)
    if status == 413:
        return UserError(
            f"{address}: {endpoint} answers {_phrase(status)}: a proxy before the server takes no "
            "requests of this size; raise its limit (nginx: client_max_body_size)."
        )
    return _another_server(_phrase(status), endpoint, address)


def _failing(told: str, endpoint: str, address: S3Address) -> ServerAway:
    return ServerAway(
        f"{address}: {endpoint} answers {told}: it, or a proxy before it, is down or overloaded; try "
        "again later."
    )


def _another_server(told: str, endpoint: str, address: S3Address) -> UserError:
    return UserError(
        f"{address}: {endpoint} does not answer as an S3 server does ({told}); {ENDPOINTS[0]} has to "
        "be the address of its S3 API."
    )


def _phrase(status: int) -> str:
    return f"{status} {responses.get(status, '')}".rstrip()


def _reason(error: HTTPError) -> str:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    return _shortened(reason.args[-1] if isinstance(reason, ProtocolError) else reason)


def _shortened(said: object) -> str:
    """What a library said, without the objects that it names."""
    return str(said).rpartition("): ")[2].rstrip(".")[:200]
