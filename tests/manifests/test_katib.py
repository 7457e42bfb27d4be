"""What Katib's own configuration is told of us, and how it gets there."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from manifests.generate import katib_entries
from manifests.register_in_katib import ENTRIES, registered
from pocketkube import __version__
from pocketkube.errors import UserError
from pocketkube.kube.doctor.finding import Level
from pocketkube.kube.doctor.katib import ALGORITHMS, katib_findings
from pocketkube.search.suggestion.answer import ALGORITHMS as SERVED
from tests.manifests.rendering import MANIFESTS

CONFIG = """
apiVersion: config.kubeflow.org/v1beta1
kind: KatibConfig
init:
  controller:
    webhookPort: 8443
    injectSecurityContext: true
    trialResources:
      - Job.v1.batch
      - MPIJob.v1.kubeflow.org
runtime:
  metricsCollectors:
    - kind: File
      image: file-collector
  suggestions:
    - algorithmName: random
      image: hyperopt
    - algorithmName: pocketkube-ddpg
      image: an-older-one
"""


def config_map(text: str = CONFIG) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": "katib-config",
                "namespace": "kubeflow",
                "resourceVersion": "7",
                "uid": "a",
            },
            "data": {"katib-config.yaml": text, "another": "b"},
        }
    )


def entries() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(ENTRIES.read_text())
    return found


def test_the_entries_are_those_that_are_generated() -> None:
    assert ENTRIES.read_text() == katib_entries(), "run make manifests"


def test_what_is_registered_is_what_the_service_answers_and_the_doctor_looks_for() -> None:
    names = [each["algorithmName"] for each in entries()["runtime"]["suggestions"]]
    assert names == [*ALGORITHMS] == [*SERVED]


def test_the_doctor_is_content_with_what_was_merged() -> None:
    text = yaml.safe_load(registered(config_map(), ENTRIES.read_text()))["data"]["katib-config.yaml"]
    assert {each.level for each in katib_findings(text, "kubeflow")} == {Level.RIGHT}


def test_what_is_there_stays_and_what_is_ours_is_replaced() -> None:
    document = yaml.safe_load(registered(config_map(), ENTRIES.read_text()))
    config, before = yaml.safe_load(document["data"]["katib-config.yaml"]), yaml.safe_load(CONFIG)
    assert document["data"]["another"] == "b"
    # With it, kubectl replace notices another's change in between.
    assert document["metadata"]["resourceVersion"] == "7"
    assert config["runtime"]["metricsCollectors"] == before["runtime"]["metricsCollectors"]
    first, *ours = config["runtime"]["suggestions"]
    assert first == before["runtime"]["suggestions"][0]
    assert ours == entries()["runtime"]["suggestions"]
    controller = config["init"]["controller"]
    assert controller.pop("trialResources") == [
        "Job.v1.batch",
        "MPIJob.v1.kubeflow.org",
        "MPIJob.v2beta1.kubeflow.org",
    ]
    assert controller == {"webhookPort": 8443, "injectSecurityContext": True}


def test_it_can_be_merged_again_and_from_json() -> None:
    once = registered(config_map(), ENTRIES.read_text())
    assert registered(once, ENTRIES.read_text()) == once
    assert registered(json.dumps(yaml.safe_load(config_map())), ENTRIES.read_text()) == once


def test_a_configuration_without_lists_gets_them() -> None:
    text = "kind: KatibConfig\ninit: {controller: {}}\nruntime: {}\n"
    document = yaml.safe_load(registered(config_map(text), ENTRIES.read_text()))
    config = yaml.safe_load(document["data"]["katib-config.yaml"])
    assert config["init"] == entries()["init"]
    assert config["runtime"] == entries()["runtime"]


@pytest.mark.parametrize(
    "given", ["", "a: [", "- a", "data: {}", config_map("kind: Other"), config_map("a: [")]
)
def test_another_thing_is_refused(given: str) -> None:
    with pytest.raises(UserError, match="no ConfigMap katib-config"):
        registered(given, ENTRIES.read_text())


def test_the_command_ends_in_one_line() -> None:
    command = [sys.executable, "-m", "manifests.register_in_katib"]
    done = subprocess.run(
        command, input="nothing", capture_output=True, text=True, cwd=MANIFESTS.parent
    )
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("pocketkube: This is no ConfigMap")


def test_the_services_pods_are_what_restricted_namespaces_take() -> None:
    for each in entries()["runtime"]["suggestions"]:
        assert each["image"] == f"pocketkube-suggestion:{__version__}"
        security = each["securityContext"]
        assert security["runAsNonRoot"]
        assert security["readOnlyRootFilesystem"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        # Katib adds its port itself; twice it would be refused.
        assert "ports" not in each
        assert each["readinessProbe"]["grpc"] == {"port": 6789, "service": "manager.v1beta1.Suggestion"}


def test_the_image_may_be_in_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POCKETKUBE_SUGGESTION_IMAGE", "registry/suggestion:1")
    found = yaml.safe_load(katib_entries())
    assert {each["image"] for each in found["runtime"]["suggestions"]} == {"registry/suggestion:1"}
    monkeypatch.setenv("POCKETKUBE_SUGGESTION_IMAGE", "registry/suggestion")
    with pytest.raises(UserError, match="POCKETKUBE_SUGGESTION_IMAGE"):
        katib_entries()
