"""The S3 server that the environment names, and how patient its client is."""

import io
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from urllib3.exceptions import HTTPError

from pocketkube.errors import UserError
from pocketkube.storage import server_settings
from pocketkube.storage.address import S3Address
from pocketkube.storage.failures import PASSING_STATUSES, ErrorPage, other_scheme, unreached

# Tries are 0, 2 and 4 s apart: a server that is not there is given up after 6 to 18 s.
KNOCK_TIMEOUT = urllib3.Timeout(connect=3, read=5)
KNOCK = urllib3.Retry(
    total=4,
    connect=3,
    read=1,
    other=0,
    redirect=False,
    backoff_factor=1,
    # A server may ask for hours.
    respect_retry_after_header=False,
)
# Of an error page, to see what it is about.
_LONG_ENOUGH = 4096
# As many parts of an object as come at once.
CONNECTIONS = 4
# How long nothing may move. A server that is there may take its time to store a large part; connect is
# for what is sent, too.
WORK_TIMEOUT = urllib3.Timeout(connect=30, read=60)
WORK = urllib3.Retry(
    total=6,
    connect=3,
    read=3,
    other=0,
    status=3,
    backoff_factor=1,
    # POST, too: it begins and ends uploads in parts.
    allowed_methods=None,
    status_forcelist=PASSING_STATUSES,
    raise_on_status=False,
    respect_retry_after_header=False,
)


@dataclass(frozen=True)
class Server:
    """An S3 server.

    Attributes:
        endpoint: Its URL.
        client: What speaks to it.
        pool: The connections that the client uses.
    """

    endpoint: str
    client: Minio
    pool: urllib3.PoolManager


def connect(address: S3Address) -> Server:
    """Reaches the server that the environment names.

    Args:
        address: What is wanted there, for messages.

    Raises:
        UserError: If the environment lacks something, or no server answers; within 20 seconds.
    """
    endpoint = server_settings.endpoint(address)
    key = secret = token = None
    if not server_settings.is_anonymous():
        key = server_settings.credential(address, server_settings.ACCESS_KEY)
        secret = server_settings.credential(address, server_settings.SECRET_KEY)
        token = server_settings.token(address)
    trusted = server_settings.certificates(address)
    url = urlsplit(endpoint)
    pool = _Pool(timeout=WORK_TIMEOUT, retries=WORK, ca_certs=trusted, maxsize=CONNECTIONS)
    try:
        client = Minio(
            url.netloc,
            access_key=key,
            secret_key=secret,
            session_token=token,
            secure=url.scheme == "https",
            region=server_settings.region(),
            http_client=pool,
        )
    except ValueError as error:
        raise UserError(f"{address}: the server {endpoint} is refused: {error}.") from None
    try:
        # Any answer will do, and without patience: the client waits longer.
        with urllib3.PoolManager(timeout=KNOCK_TIMEOUT, retries=KNOCK, ca_certs=trusted) as door:
            answer = door.request("GET", endpoint, preload_content=False)
            # What nginx and servers in Go answer, without TLS, to a request that is without it.
            is_for_tls = answer.status == 400 and b"HTTPS" in answer.read(_LONG_ENOUGH)
            answer.close()
    except HTTPError as error:
        raise unreached(error, endpoint, address) from error
    if is_for_tls:
        raise other_scheme(endpoint, address)
    return Server(endpoint, client, pool)


class _Pool(urllib3.PoolManager):
    """Connections on which slow is not dead, and on which an error page is one."""

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = True, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        if isinstance(body := options.get("body"), bytes) and body:
            # Bytes would have to leave whole within one timeout; a stream's each block has its own.
            options["body"] = io.BytesIO(body)
        response = super().urlopen(method, url, redirect, **options)
        # The client would decode the page, which need not be UTF-8, and hides the status. What has no
        # page it understands, but for the statuses of a server that is away.
        is_page = "application/xml" not in response.headers.get("content-type", "")
        if method == "HEAD":
            is_page = response.status in PASSING_STATUSES
        if response.status >= 300 and is_page:
            response.drain_conn()
            raise ErrorPage(response.status)
        return response
