"""Versions in a Kubeflow Model Registry; a real one, which MODEL_REGISTRY_URL names, or none."""

import json
import os
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pocketkube.errors import UserError
from pocketkube.files.records import text_of
from pocketkube.retraining import run
from pocketkube.retraining.model_registry import tell_model_registry
from pocketkube.retraining.pointer import RETRAINED
from pocketkube.retraining.registry import Registry
from pocketkube.retraining.settings import RetrainingJob, load_retraining
from pocketkube.storage import parse_location
from tests.retraining.data import write_settings
from tests.retraining.facts import decision, version_facts
from tests.storage.gateway import free_port

PLACE = parse_location("/models/versions/v1")


@pytest.fixture
def url() -> str:
    pytest.importorskip("model_registry")
    found = os.environ.get("MODEL_REGISTRY_URL")
    if not found:
        pytest.skip("MODEL_REGISTRY_URL names no Kubeflow Model Registry, as in http://127.0.0.1:8080")
    return found


def job_of(folder: Path, url: str, name: str = "digits") -> RetrainingJob:
    return load_retraining(write_settings(folder, name=name, model_registry=url))


def found(url: str, path: str) -> list[dict[str, Any]]:
    """What the server's REST API tells, without its client."""
    with urllib.request.urlopen(f"{url}/api/model_registry/v1alpha3/{path}") as answer:
        return list(json.load(answer)["items"])


def model_of(url: str, name: str) -> dict[str, Any]:
    (model,) = [each for each in found(url, "registered_models?pageSize=500") if each["name"] == name]
    return model


def test_a_version_is_registered_once(url: str, tmp_path: Path) -> None:
    name = f"digits-{uuid4().hex[:8]}"
    job = job_of(tmp_path, url, name)
    for _ in range(2):
        tell_model_registry(job, version_facts(), PLACE, deployed=False)
    model = model_of(url, name)
    assert "deployed" not in model.get("customProperties", {})
    (version,) = found(url, f"registered_models/{model['id']}/versions")
    assert version["name"] == "v1"
    lineage = version["customProperties"]
    assert lineage["partition"]["string_value"] == "2026-11-01"
    assert lineage["accuracy"]["double_value"] == 0.9
    assert lineage["passed"]["bool_value"] is True
    (artifact,) = found(url, f"model_versions/{version['id']}/artifacts")
    assert artifact["uri"] == "/models/versions/v1/model.tflite"
    assert artifact["modelFormatName"] == "litert"


def test_it_says_which_version_is_deployed(url: str, tmp_path: Path) -> None:
    name = f"digits-{uuid4().hex[:8]}"
    job = job_of(tmp_path, url, name)
    for version in ("v1", "v2", "v1"):
        tell_model_registry(job, version_facts(version), PLACE, deployed=True)
        deployed = model_of(url, name)["customProperties"]["deployed"]
        assert deployed["string_value"] == version
    assert len(found(url, f"registered_models/{model_of(url, name)['id']}/versions")) == 2


def test_a_registration_that_was_cut_short_is_ended(url: str, tmp_path: Path) -> None:
    """The version is there, as an earlier run left it, but no artifact."""
    from model_registry.types import ModelVersion, RegisteredModel

    from pocketkube.retraining import model_registry

    name = f"digits-{uuid4().hex[:8]}"
    client = model_registry._connect(url)
    model = client.async_runner(client._api.upsert_registered_model(RegisteredModel(name=name)))
    client.async_runner(client._api.upsert_model_version(ModelVersion(name="v1"), model.id))
    tell_model_registry(job_of(tmp_path, url, name), version_facts(), PLACE, deployed=True)
    (version,) = found(url, f"registered_models/{model.id}/versions")
    (artifact,) = found(url, f"model_versions/{version['id']}/artifacts")
    assert artifact["uri"] == "/models/versions/v1/model.tflite"


def test_without_an_address_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("pocketkube.retraining.model_registry._connect", asked.append)
    tell_model_registry(job_of(tmp_path, ""), version_facts(), PLACE, deployed=True)
    assert not asked


@pytest.mark.parametrize("path", ["", "/gateway"])
def test_a_wrong_address_is_one_line(tmp_path: Path, path: str) -> None:
    pytest.importorskip("model_registry")
    job = job_of(tmp_path, f"http://127.0.0.1:{free_port()}{path}")
    with pytest.raises(UserError, match=r"model_registry: http://127\.0\.0\.1"):
        tell_model_registry(job, version_facts(), PLACE, deployed=True)


@pytest.mark.parametrize("refused", ["", "v2"])
def test_what_an_earlier_run_did_not_tell_the_next_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    job, told = job_of(tmp_path, "http://127.0.0.1:1"), []
    registry = Registry(job.registry)
    for version in filter(None, ("v1", refused)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "version.json").write_text(text_of(version_facts(version)))
        registry.add(version, tmp_path / version)
    registry.pointer.replace("v1", RETRAINED, None)
    monkeypatch.setattr(
        run,
        "tell_model_registry",
        lambda job, facts, place, *, deployed: told.append((facts.version, deployed)),
    )
    kept = decision("v2", action="keep", deployed="v1")
    assert run.settle(job, kept, print).result == "kept"
    assert told == [*([("v2", False)] if refused else []), ("v1", True)]
