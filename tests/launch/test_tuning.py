"""What of an environment a job's pods are given."""

import pytest

from pocketkube.launch.cluster_jobs import store_of
from pocketkube.launch.tuning import tuning_of
from pocketkube.spec.sections import Cluster


def test_horovods_own_settings_go_with_a_job_and_nothing_else_does() -> None:
    chosen = {"HOROVOD_CYCLE_TIME": "5", "HOROVOD_TIMELINE": "/tmp/t.json", "HOROVOD_AUTOTUNE": "1"}
    others = {"HOROVOD_RANK": "1", "HOROVOD_SECRET_KEY": "k", "AWS_SECRET_ACCESS_KEY": "k", "PATH": "/"}
    assert tuning_of({**others, **chosen}) == chosen


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_jobs_pods_ask_the_server_that_whoever_starts_it_asks(unset: pytest.MonkeyPatch) -> None:
    assert store_of(Cluster()) == {}
    unset.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    unset.setenv("AWS_DEFAULT_REGION", "eu-1")
    assert store_of(Cluster()) == {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "AWS_REGION": "eu-1"}
    unset.setenv("AWS_ENDPOINT_URL_S3", "http://other:9000")
    unset.setenv("AWS_REGION", "eu-2")
    assert store_of(Cluster()) == {"AWS_ENDPOINT_URL_S3": "http://other:9000", "AWS_REGION": "eu-2"}
    cluster = Cluster.model_validate({"object_store": {"endpoint": "http://own:9000"}})
    assert store_of(cluster)["AWS_ENDPOINT_URL_S3"] == "http://own:9000"
