"""The S3 server that these tests talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.binaries import binary
from tests.cluster.missing import Missing
from tests.storage.gateway import Gateway, running_gateway


@pytest.fixture(scope="session")
def versitygw() -> Path:
    try:
        return binary("versitygw")
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def gateway(versitygw: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(versitygw, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def s3(gateway: Gateway, downloads: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """The server, with an environment that names it, and nothing downloaded."""
    for name in ("AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    return gateway


@pytest.fixture
def downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of downloads that no other test uses."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "pocketkube" / "downloads"
