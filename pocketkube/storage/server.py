"""The S3 server that the environment names, and what went wrong where it does not do as it is asked."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error
from urllib3.exceptions import HTTPError, MaxRetryError, SSLError

from pocketkube.errors import UserError
from pocketkube.storage.places import Place

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CERTIFICATES = "SSL_CERT_FILE"

# Beside the statuses 401 and 403. versitygw says XAdminUserNotFound, with 404, of a key that it lacks.
REFUSALS = ("InvalidToken", "ExpiredToken", "XAdminUserNotFound")

# Tries are 0, 2 and 4 s apart: a server that is not there is given up after 6 to 18 s.
CONNECT = urllib3.Timeout(connect=3, read=5)
KNOCK = urllib3.Retry(total=4, connect=3, read=1, other=0, redirect=False, backoff_factor=1)
# A server that is there may take its time to store a large part.
ANSWER = urllib3.Timeout(connect=3, read=30)
WORK = urllib3.Retry(
    total=4,
    connect=3,
    read=1,
    other=0,
    status=3,
    backoff_factor=1,
    status_forcelist=(500, 502, 503, 504),
    raise_on_status=False,
    # A server may ask for hours.
    respect_retry_after_header=False,
)


@dataclass(frozen=True)
class Server:
    """An S3 server.

    Attributes:
        endpoint: Its URL.
        client: What speaks to it.
    """

    endpoint: str
    client: Minio


def connect(place: Place) -> Server:
    """Reaches the server that the environment names.

    Args:
        place: What is wanted there, for messages.

    Raises:
        UserError: If the environment lacks something, or no server answers; within 20 seconds.
    """
    endpoint = _endpoint(place)
    key, secret = _credential(place, ACCESS_KEY), _credential(place, SECRET_KEY)
    token = _credential(place, TOKEN) if os.environ.get(TOKEN) else None
    pool = urllib3.PoolManager(timeout=ANSWER, retries=WORK, ca_certs=_certificates(place))
    address = urlsplit(endpoint)
    try:
        client = Minio(
            address.netloc,
            access_key=key,
            secret_key=secret,
            session_token=token,
            secure=address.scheme == "https",
            region=_first_set(REGIONS)[1],
            http_client=pool,
        )
    except ValueError as error:
        raise UserError(f"{place}: the server {endpoint} is refused: {error}.") from None
    server = Server(endpoint, client)
    with plain_failures(server, place):
        # Any answer will do, and without patience: the client waits longer.
        pool.request("GET", endpoint, timeout=CONNECT, retries=KNOCK, preload_content=False).close()
    return server


@contextmanager
def plain_failures(server: Server, place: Place) -> Iterator[None]:
    """Turns what the client raises into one line that names the place and the server."""
    try:
        yield
    except S3Error as error:
        raise UserError(_refusal(error, server.endpoint, place)) from error
    except InvalidResponseError as error:
        raise UserError(
            f"{place}: {server.endpoint} does not answer as an S3 server does; "
            "AWS_ENDPOINT_URL_S3 has to be the address of its S3 API."
        ) from error
    except (MinioException, ParseError) as error:
        raise UserError(f"{place}: {server.endpoint} fails: {_shortened(error)}.") from error
    except HTTPError as error:
        raise UserError(_unreached(error, server.endpoint, place)) from error


def is_missing(error: S3Error) -> bool:
    """Whether an object was asked for that is not there."""
    return error.code == "NoSuchKey"


def _endpoint(place: Place) -> str:
    name, found = _first_set(ENDPOINTS)
    if found is None:
        raise UserError(
            f"{place}: no server is named; set {ENDPOINTS[0]}, as in http://minio.kubeflow:9000."
        )
    try:
        address = urlsplit(found)
        port = address.port
    except ValueError:
        raise UserError(f"{place}: {name} is no URL of a server; its port or host is wrong.") from None
    if address.username or address.password:
        raise UserError(f"{place}: {name} must hold no user or password; use {ACCESS_KEY}.")
    extra = address.path.strip("/") or address.query or address.fragment
    if address.scheme not in ("http", "https") or not address.hostname or extra:
        raise UserError(
            f"{place}: {name} is {found}, but has to be http:// or https://, a host and perhaps a port."
        )
    host = f"[{address.hostname}]" if ":" in address.hostname else address.hostname
    return f"{address.scheme}://{host}" + (f":{port}" if port else "")


def _credential(place: Place, name: str) -> str:
    found = os.environ.get(name)
    if not found:
        raise UserError(f"{place}: {name} is not set; the S3 server asks for it.")
    # A secret made with echo ends in a line break, which no header can carry.
    if not re.fullmatch(r"[!-~]+", found):
        raise UserError(
            f"{place}: {name} has a space, a line break or another sign that no key has; "
            "make the secret without a line break (echo -n)."
        )
    return found


def _certificates(place: Place) -> str:
    found = os.environ.get(CERTIFICATES)
    if found and not Path(found).is_file():
        raise UserError(f"{place}: {CERTIFICATES} is {found}, which is no file.")
    return found or certifi.where()


def _first_set(names: tuple[str, ...]) -> tuple[str, str | None]:
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), (names[0], None))


def _refusal(error: S3Error, endpoint: str, place: Place) -> str:
    if error.code == "NoSuchBucket":
        return f"{place}: there is no bucket {place.bucket} at {endpoint}; make it, or name another."
    told = f"{error.code}: {_shortened(error.message or 'nothing more')}"
    if error.code in REFUSALS or error.response.status in (401, 403):
        return (
            f"{place}: {endpoint} refuses access ({told}); look at {ACCESS_KEY}, {SECRET_KEY} and what "
            f"they may do in {place.bucket}."
        )
    return f"{place}: {endpoint} answers {told}."


def _unreached(error: HTTPError, endpoint: str, place: Place) -> str:
    reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    if isinstance(reason, SSLError):
        return (
            f"{place}: no secure connection to {endpoint} ({_shortened(reason)}); where its "
            f"certificate is a private one, {CERTIFICATES} names the file of those to trust."
        )
    return f"{place}: {endpoint} cannot be reached ({_shortened(reason)}); is {ENDPOINTS[0]} right?"


def _shortened(said: object) -> str:
    """What a library said, without the objects that it names."""
    return str(said).rpartition("): ")[2].rstrip(".")[:200]
