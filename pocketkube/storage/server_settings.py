"""What the environment says of the S3 server: where it is, with which keys, whom to trust."""

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import certifi

from pocketkube.errors import UserError, repeatable
from pocketkube.storage.address import S3Address

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
ACCESS_KEY, SECRET_KEY, TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
CERTIFICATES = "SSL_CERT_FILE"
# Set in pods: the Secret from which they have the keys, if it is there.
SECRET = "POCKETKUBE_STORE_SECRET"


def is_named() -> bool:
    """Whether the environment names a server, and keys for it."""
    keys = [os.environ.get(name) for name in (ACCESS_KEY, SECRET_KEY)]
    return all([named_endpoint(), *keys])


def named_endpoint() -> str | None:
    """The server's URL as the environment has it."""
    return _first_set(ENDPOINTS)[1]


def endpoint(address: S3Address) -> str:
    """The server's URL: a scheme, a host and perhaps a port.

    Args:
        address: What is wanted there, for messages.

    Raises:
        UserError: If none is named, or it is no such URL.
    """
    name, found = _first_set(ENDPOINTS)
    if found is None:
        if secret_name():
            raise UserError(
                f"{address}: no server is named; set {ENDPOINTS[0]}, which a pod has from "
                "cluster.object_store.endpoint or, in a pipeline, from the key endpoint of the "
                "ConfigMap pocketkube-object-store in its namespace."
            )
        raise UserError(
            f"{address}: no server is named; set {ENDPOINTS[0]}, as in http://minio.kubeflow:9000."
        )
    try:
        url = urlsplit(found)
        port = url.port
    except ValueError:
        raise UserError(
            f"{address}: {name} is no URL of a server; its port or host is wrong."
        ) from None
    if url.username or url.password:
        raise UserError(f"{address}: {name} must hold no user or password; use {ACCESS_KEY}.")
    extra = url.path.strip("/") or url.query or url.fragment
    if url.scheme not in ("http", "https") or not url.hostname or extra:
        raise UserError(
            f"{address}: {name} is {repeatable(found)}, but has to be http:// or https://, a host and "
            "perhaps a port."
        )
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}" + (f":{port}" if port else "")


def is_anonymous() -> bool:
    """Whether the environment names no keys, so that only what anybody may see can be asked for."""
    return not any(os.environ.get(name) for name in (ACCESS_KEY, SECRET_KEY))


def credential(address: S3Address, name: str) -> str:
    """The key or secret in the variable `name`.

    Raises:
        UserError: If it is not set, or cannot be one.
    """
    found = os.environ.get(name)
    if not found:
        raise UserError(f"{address}: {name} is not set; the S3 server asks for it.")
    if not is_key(found):
        raise UserError(
            f"{address}: {name} has a space, a line break or another sign that no key has; "
            "make the secret without a line break (echo -n)."
        )
    return found


def is_key(text: str) -> bool:
    """Whether a text can be a key: one made with echo ends in a line break, which no header carries."""
    return re.fullmatch(r"[!-~]+", text) is not None


def secret_name() -> str | None:
    """The Secret from which this process should have its keys; None outside of pods."""
    return os.environ.get(SECRET)


def token(address: S3Address) -> str | None:
    """What comes with keys that are temporary.

    Raises:
        UserError: If it cannot be one.
    """
    return credential(address, TOKEN) if os.environ.get(TOKEN) else None


def region() -> str | None:
    """The bucket's region, if it is named."""
    return _first_set(REGIONS)[1]


def certificates(address: S3Address) -> str:
    """The file of the certificates to trust.

    Raises:
        UserError: If it is not there.
    """
    found = os.environ.get(CERTIFICATES)
    if found and not Path(found).is_file():
        raise UserError(f"{address}: {CERTIFICATES} is {found}, which is no file.")
    return found or certifi.where()


def _first_set(names: tuple[str, ...]) -> tuple[str, str | None]:
    return next(((name, os.environ[name]) for name in names if os.environ.get(name)), (names[0], None))
