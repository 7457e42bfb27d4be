"""Single objects on an S3 server: what is there, and how one becomes a file here, checked."""

import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock

from minio.error import S3Error
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt
from urllib3.exceptions import HTTPError

from pocketkube.console.progress import Progress
from pocketkube.errors import UserError
from pocketkube.files.whole import sha256_of
from pocketkube.storage.failures import is_missing
from pocketkube.storage.server import CONNECTIONS, Server

CHUNK_BYTES = 1 << 20
# A larger object comes in parts of this size, several at once.
PART_BYTES = 32 << 20
TRIES = 4


@dataclass(frozen=True)
class S3Object:
    """An object, and what is known of its content.

    Attributes:
        bucket: Its bucket.
        key: Its whole name in the bucket.
        size_bytes: Its size.
        etag: The server's, which changes with the content.
        sha256: The SHA-256 of its content in hexadecimal digits.
    """

    bucket: str
    key: str
    size_bytes: int
    etag: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def find_object(server: Server, bucket: str, key: str) -> S3Object | None:
    """Asks for one object; None if it is not there."""
    try:
        found = server.client.stat_object(bucket, key)
    except S3Error as error:
        if is_missing(error):
            return None
        raise
    return S3Object(bucket, key, found.size or 0, found.etag or str(found.last_modified))


def list_objects(server: Server, bucket: str, prefix: str) -> list[S3Object]:
    """All objects whose names begin with `prefix`, in the order of their names."""
    return [
        S3Object(bucket, str(each.object_name), each.size or 0, each.etag or str(each.last_modified))
        for each in server.client.list_objects(bucket, prefix=prefix, recursive=True)
        # Consoles mark folders with empty objects whose name ends in a slash.
        if not str(each.object_name).endswith("/")
    ]


def download(
    server: Server, wanted: S3Object, target: Path, shown: Progress, before_bytes: int = 0
) -> None:
    """Copies an object into a file, a large one in parts at once; what breaks off goes on from there.

    The file is checked against all that is known of it, and fetched once more where it is not that: it
    may have been spoilt on the way. An etag is the MD5 of an object that was sent in one part and is
    not encrypted with a key of its own (Amazon S3's API reference, "Object").

    Args:
        server: The server.
        wanted: The object.
        target: The file to write.
        shown: Where to say how far it is.
        before_bytes: How much was done before, for `shown`.

    Raises:
        UserError: If the object is missing, or not what it should be.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    spoilt = retry_if_exception_type(_Spoilt)
    Retrying(retry=spoilt, stop=stop_after_attempt(2), reraise=True)(
        _copy, server, wanted, target, shown, before_bytes
    )


class _Spoilt(UserError):
    """What has come is not the object's content."""


def _copy(server: Server, wanted: S3Object, target: Path, shown: Progress, before_bytes: int) -> None:
    starts = range(0, max(1, wanted.size_bytes), PART_BYTES)
    done, lock, given_up = [before_bytes], Lock(), Event()

    def came(count: int) -> None:
        with lock:
            done[0] += count
            shown.update(done[0])

    def part(start: int) -> bool:
        size = min(PART_BYTES, wanted.size_bytes - start)
        return _copy_part(server, wanted, target, start, size, came, given_up)

    target.write_bytes(b"")
    if len(starts) == 1:
        checked = [part(0)]
    else:
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            try:
                checked = list(pool.map(part, starts))
            except BaseException:
                given_up.set()
                raise
    if all(checked) and _md5_of(target) != wanted.etag:
        raise _Spoilt(_mismatch(wanted, "has another MD5 than it should have"))
    if wanted.sha256 and sha256_of(target) != wanted.sha256:
        raise _Spoilt(_mismatch(wanted, "has another SHA-256 than it should have"))


def _copy_part(
    server: Server,
    wanted: S3Object,
    target: Path,
    start: int,
    size: int,
    came: Callable[[int], None],
    given_up: Event,
) -> bool:
    """Copies `size` bytes from `start` on to the same place of a file.

    Args:
        server: The server.
        wanted: The object.
        target: The file, which is there.
        start: Where the part begins.
        size: How long it is; with all of the object it is asked for as a whole.
        came: Called with the number of bytes of each piece.
        given_up: Set where the other parts need not come any more.

    Returns:
        Whether the object's etag is the MD5 of its content.
    """
    etag_is_md5 = bool(re.fullmatch(r"[0-9a-f]{32}", wanted.etag or ""))
    asked = 0 if size == wanted.size_bytes else size

    with target.open("r+b") as stream:
        stream.seek(start)

        def go_on() -> None:
            nonlocal etag_is_md5
            done = stream.tell() - start
            try:
                response = server.client.get_object(
                    wanted.bucket, wanted.key, offset=start + done, length=asked and size - done
                )
            except S3Error as error:
                if is_missing(error):
                    raise UserError(_mismatch(wanted, "is missing")) from error
                raise
            with response:
                etag_is_md5 = etag_is_md5 and not _is_encrypted_by_key(response.headers)
                etag = response.headers.get("etag", "").strip('"')
                if wanted.etag and etag and etag != wanted.etag:
                    raise UserError(_mismatch(wanted, "has another etag than a moment ago"))
                for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                    if given_up.is_set():
                        raise CancelledError
                    if stream.tell() - start + len(chunk) > size:
                        raise _Spoilt(_mismatch(wanted, _no_such_size(wanted)))
                    stream.write(chunk)
                    came(len(chunk))

        breaks = retry_if_exception_type(HTTPError)
        Retrying(retry=breaks, stop=stop_after_attempt(TRIES), reraise=True)(go_on)
        if stream.tell() - start != size:
            raise _Spoilt(_mismatch(wanted, _no_such_size(wanted)))
    return etag_is_md5


def _md5_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _no_such_size(wanted: S3Object) -> str:
    return f"has not the {wanted.size_bytes} bytes that it should have"


def _mismatch(wanted: S3Object, what: str) -> str:
    return (
        f"{wanted} {what}: it is damaged, or being overwritten right now; wait for whoever "
        "writes it, or write it again."
    )


def _is_encrypted_by_key(headers: Mapping[str, str]) -> bool:
    return (
        headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )
