"""URIs are read as they were meant, or refused with a reason."""

import pytest

from pocketkube.errors import UserError
from pocketkube.storage import S3Address, is_uri, parse_uri


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://models/runs/a", "models", "runs/a"),
        ("s3://models/runs/a/", "models", "runs/a"),
        ("minio://my.models-2/a", "my.models-2", "a"),
        ("s3://models/Läufe/1 %20=x", "models", "Läufe/1 %20=x"),
    ],
)
def test_places(text: str, bucket: str, key: str) -> None:
    assert is_uri(text)
    assert parse_uri(text) == S3Address(bucket, key)
    assert parse_uri(str(parse_uri(text))) == S3Address(bucket, key)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("s3://models", "names a whole bucket"),
        ("s3://models/", "names a whole bucket"),
        ("s3:///runs", "names no bucket"),
        ("s3://Models/a", "names no bucket"),
        ("s3://a..b/c", "names no bucket"),
        ("s3://a.-b/c", "names no bucket"),
        ("s3://192.168.1.1/c", "names no bucket"),
        ("s3://abc-s3alias/c", "names no bucket"),
        ("s3://models\n/c", "names no bucket"),
        ("s3://models/../other/a", "between slashes"),
        ("s3://models/a/./b", "between slashes"),
        ("s3://models//a", "absolute"),
        ("s3://models/a//b", "nothing between two slashes"),
        ("s3://models/a\\b", "backslash"),
        ("s3://models/a\0", "control character"),
        ("s3://models/a?endpoint=b", "AWS_ENDPOINT_URL_S3"),
        ("s3://models/" + "a/" * 500, "too long"),
        ("gs://models/a", "no place that is known here"),
        ("s3:/models/a", "no place that is known here"),
    ],
)
def test_what_is_no_place(text: str, said: str) -> None:
    assert is_uri(text)
    with pytest.raises(UserError) as caught:
        parse_uri(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "uri",
    [
        *(f"{scheme}://me:hush@models/a" for scheme in ("s3", "gs", "minio")),
        "s3://me:hu/hush@models/a",
        "s3://models/a?X-Amz-Signature=hush",
        "s3://models/a//b?X-Amz-Signature=hush",
        "s3://models/a#hush",
    ],
)
def test_a_secret_in_a_uri_is_not_repeated(uri: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_uri(uri)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["runs/a", "/runs/a", "./s3://x", "a:b", "runs:/a/b"[4:]])
def test_folders(text: str) -> None:
    assert not is_uri(text)
