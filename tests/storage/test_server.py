"""A server that is not there, or refuses: one line with the place and the server, and no secret."""

import json
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from pocketkube.errors import UserError
from pocketkube.storage import (
    fetch_folder,
    parse_location,
    parse_uri,
    refuse_unwritable,
    send_folder,
)
from pocketkube.storage.server import connect
from tests.storage.gateway import BUCKET, KEYS, Gateway, free_port, running_gateway

PLACE = parse_uri(f"s3://{BUCKET}/runs/a")


def refused(attempt: Callable[[], None]) -> str:
    with pytest.raises(UserError) as caught:
        attempt()
    line = str(caught.value)
    assert line.startswith("s3://")
    assert not any(secret in line for secret in ("tell-nobody", "hush"))
    assert "\n" not in line
    return line


def fetch(tmp_path: Path, place=PLACE) -> str:
    line = refused(lambda: fetch_folder(place, tmp_path / "back"))
    assert not list(tmp_path.glob("*back*"))
    return line


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "a").write_text("a")
    return tmp_path / "bundle"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", *KEYS])
def test_an_environment_that_lacks_something(s3: Gateway, tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert name in fetch(tmp_path)


def test_a_pod_that_is_told_of_no_server_says_where_it_would_be(
    s3: Gateway, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "")
    monkeypatch.setenv("POCKETKUBE_STORE_SECRET", "team-keys")
    line = fetch(tmp_path)
    assert "no server is named; set AWS_ENDPOINT_URL_S3, which a pod has from" in line
    assert "cluster.object_store.endpoint or, in a pipeline, from the key endpoint of the" in line


def test_without_keys_what_anybody_may_read_is_read(s3: Gateway, bundle: Path, tmp_path, monkeypatch):
    place = parse_uri(f"s3://{BUCKET}/public/a")
    send_folder(bundle, place)
    server = connect(place)
    for name in KEYS:
        monkeypatch.delenv(name)
    assert "it was asked without keys, as anybody may: set AWS_ACCESS_KEY_ID and" in fetch(
        tmp_path, place
    )
    allowed = {"s3:GetObject": f"{BUCKET}/public/*", "s3:ListBucket": BUCKET}
    statements = [
        {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{what}"}
        for action, what in allowed.items()
    ]
    policy = {"Version": "2012-10-17", "Statement": statements}
    server.client.set_bucket_policy(BUCKET, json.dumps(policy))
    try:
        fetch_folder(place, tmp_path / "back")
        assert (tmp_path / "back" / "a").read_text() == "a"
        (found,) = parse_location(f"s3://{BUCKET}/public/a/[ab]").matches()
        assert found.fetch().path.read_text() == "a"
        assert "without keys" in refused(lambda: send_folder(bundle, place))
    finally:
        server.client.delete_bucket_policy(BUCKET)


def test_the_common_endpoint_will_do(s3: Gateway, bundle: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint + "/")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    place = parse_uri(f"minio://{BUCKET}/common")
    send_folder(bundle, place)
    fetch_folder(place, tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "a"


@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000",
        "ftp://minio",
        "http://",
        "http://minio:port",
        "http://minio/bucket",
        "http://me:hush@minio:9000",
        "me:hush@minio:9000",
        "http:me:hush@minio",
        "http://minio:9000/?X-Amz-Signature=hush",
    ],
)
def test_an_endpoint_that_is_none(s3: Gateway, tmp_path, monkeypatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    assert "AWS_ENDPOINT_URL_S3" in fetch(tmp_path)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_with_a_line_break(s3: Gateway, tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, KEYS[name] + "\n")
    line = fetch(tmp_path)
    assert f"{name} has a space, a line break" in line


@pytest.mark.parametrize("name", KEYS)
def test_wrong_keys(s3: Gateway, bundle: Path, tmp_path, monkeypatch, name: str) -> None:
    monkeypatch.setenv(name, "hush")
    for attempt in (
        lambda: fetch_folder(PLACE, tmp_path / "back"),
        lambda: send_folder(bundle, PLACE),
        lambda: refuse_unwritable(PLACE),
    ):
        line = refused(attempt)
        assert f"{s3.endpoint} refuses access" in line
        assert "AWS_ACCESS_KEY_ID" in line


def test_a_pod_names_the_secret_of_its_keys(s3: Gateway, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("POCKETKUBE_STORE_SECRET", "team-keys")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert "look at the Secret team-keys, in the pod's namespace, and what" in fetch(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(name)
    assert "needs the Secret team-keys, with accesskey and secretkey" in fetch(tmp_path)


def test_a_server_that_only_reads(versitygw: Path, bundle: Path, tmp_path, monkeypatch) -> None:
    with running_gateway(versitygw, tmp_path / "gateway", "--readonly") as gateway:
        for name, value in gateway.environment.items():
            monkeypatch.setenv(name, value)
        for attempt in (lambda: send_folder(bundle, PLACE), lambda: refuse_unwritable(PLACE)):
            assert "refuses access (AccessDenied" in refused(attempt)


def test_no_bucket(s3: Gateway, bundle: Path, tmp_path) -> None:
    place = parse_uri("s3://nowhere/a")
    assert f"there is no bucket nowhere at {s3.endpoint}" in fetch(tmp_path, place)
    assert "there is no bucket nowhere" in refused(lambda: send_folder(bundle, place))


def test_no_server(s3: Gateway, bundle: Path, tmp_path, monkeypatch) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    line = fetch(tmp_path)
    assert f"{endpoint} cannot be reached" in line
    assert "Connection refused" in line


def test_no_such_host(s3: Gateway, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://nowhere.invalid:9000")
    assert "http://nowhere.invalid:9000 cannot be reached" in fetch(tmp_path)


def test_a_server_that_says_nothing(s3: Gateway, tmp_path, monkeypatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert f"{endpoint} cannot be reached" in fetch(tmp_path)


def test_a_server_without_tls_is_not_asked_for_a_certificate(
    s3: Gateway, tmp_path, monkeypatch
) -> None:
    secure = s3.endpoint.replace("http://", "https://")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", secure)
    line = fetch(tmp_path)
    assert f"speaks without TLS; set AWS_ENDPOINT_URL_S3 to {s3.endpoint}." in line


def test_a_server_that_asks_for_tls_in_words(s3: Gateway, tmp_path, monkeypatch) -> None:
    said = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(said)

        thread = Thread(target=answer)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://{host}")
        assert f"speaks by TLS; set AWS_ENDPOINT_URL_S3 to https://{host}." in fetch(tmp_path)
        thread.join()


def test_a_region_that_is_none(s3: Gateway, bundle: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AWS_REGION", "us-esat-1")
    for attempt in (lambda: fetch_folder(PLACE, tmp_path / "back"), lambda: refuse_unwritable(PLACE)):
        assert refused(attempt).endswith("is AWS_REGION the region of the bucket?")


def test_another_kind_of_server(s3: Gateway, tmp_path, monkeypatch) -> None:
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as web:
        thread = Thread(target=web.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{web.server_port}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        assert f"{endpoint} does not answer as an S3 server does" in fetch(tmp_path)
        web.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing: install openssl")
def test_a_private_certificate(versitygw: Path, bundle: Path, tmp_path, monkeypatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=loopback"
    subprocess.run(
        [
            *command.split(),
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    secure = ("--cert", str(certificate), "--key", str(key))
    with running_gateway(versitygw, tmp_path / "gateway", *secure) as gateway:
        for name, value in gateway.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gateway.endpoint.replace("https", "http"))
        assert "the server one of https://" in fetch(tmp_path)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", gateway.endpoint)
        assert "SSL_CERT_FILE names the file" in fetch(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
        assert "none.pem, which is no file" in fetch(tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        send_folder(bundle, PLACE)
        fetch_folder(PLACE, tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "a"
