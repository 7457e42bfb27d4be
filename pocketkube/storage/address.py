"""Where a folder lives on an S3 server: a bucket and the beginning of its objects' names."""

import re
from dataclasses import dataclass

from minio.helpers import check_bucket_name

from pocketkube.errors import UserError, repeatable

SCHEMES = ("s3", "minio")
MAX_KEY_BYTES = 900


@dataclass(frozen=True)
class S3Address:
    """A folder on an S3 server.

    Attributes:
        bucket: The bucket.
        key: What the names of the folder's objects begin with, without a slash at its ends.
    """

    bucket: str
    key: str

    def object(self, name: str) -> str:
        """The object that holds the folder's file `name`."""
        return f"{self.key}/{name}"

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def is_uri(text: str) -> bool:
    """Whether `text` is meant as a URI, right or wrong, and not as a folder of this machine."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text) is not None


def parse_uri(text: str) -> S3Address:
    """Reads `s3://bucket/key`; `minio://bucket/key`, as KFP writes it, means the same.

    Raises:
        UserError: If it is no such URI, or its key could be mistaken for another.
    """
    scheme, _, rest = text.partition("://")
    bucket, _, key = rest.partition("/")
    shown = repeatable(text)
    if scheme not in SCHEMES:
        known = "a folder or an s3://bucket/key URI"
        raise UserError(f"{text.partition(':')[0]}:/… is no place that is known here; give {known}.")
    if "@" in bucket:
        raise UserError(
            f"{scheme}://… has something before an @: keys come from AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, not from a URI."
        )
    if not _is_bucket(bucket):
        raise UserError(
            f"{shown} names no bucket: 3 to 63 small letters, digits, single dots and hyphens, and no "
            "IP address, as in s3://bucket/runs/a."
        )
    key = key.removesuffix("/")
    if not key:
        raise UserError(f"{shown} names a whole bucket; give a place in it, as in {shown}/runs/a.")
    # KFP's URIs may carry an endpoint behind a question mark, which would be taken for a name.
    if "?" in key or "#" in key:
        raise UserError(
            f"A place in s3://{bucket} holds a ? or #; the server is named by AWS_ENDPOINT_URL_S3."
        )
    if wrong := why_no_name(key, MAX_KEY_BYTES):
        raise UserError(f"{shown!r} cannot be read as a place: {wrong}.")
    return S3Address(bucket, key)


def why_no_name(name: str, max_bytes: int) -> str | None:
    """Why `name` cannot be a file below a folder, here and on the server; None if it can."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "it is no Unicode text"
    segments = name.split("/")
    if name.startswith("/"):
        return "it is absolute"
    if ".." in segments or "." in segments:
        return "it has . or .. between slashes"
    if "" in segments:
        return "it has nothing between two slashes"
    if "\\" in name or any(ord(c) < 32 or ord(c) == 127 for c in name):
        return "it has a backslash or a control character"
    if len(encoded) > max_bytes or any(len(segment.encode()) > 255 for segment in segments):
        return "it is too long"
    return None


def _is_bucket(name: str) -> bool:
    try:
        check_bucket_name(name, strict=True)
    except ValueError:
        return False
    # The client's check lets one line break pass.
    return not name.endswith("\n")
